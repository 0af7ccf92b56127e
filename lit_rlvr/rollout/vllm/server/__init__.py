"""vLLM servers: launched or found, given the policy's weights, looked after, asked for completions."""
