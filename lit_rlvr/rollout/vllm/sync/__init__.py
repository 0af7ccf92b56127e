"""The proof that vLLM computes with the policy's weights: what runs in its workers, and what both sides compare."""
