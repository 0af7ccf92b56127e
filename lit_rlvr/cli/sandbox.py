"""The verb `sandbox`: whether this machine can run untrusted programs, and doing it for others."""

import argparse

from lit_rlvr.cli.verbs import Verb, run_part

PARTS = {
    "check": Verb("what this machine offers, and what the sandbox takes of it", "lit_rlvr.cli.sandbox:check"),
    "serve": Verb("run programs for others over HTTP", "lit_rlvr.sandbox.server:serve"),
}


def sandbox(args: list[str]) -> None:
    """Run `lit-rlvr sandbox check|serve`."""
    run_part("lit-rlvr sandbox", PARTS, args)


def check(args: list[str]) -> None:
    """Print what this machine offers and which isolation `strongest` is here; exit with 1 when there is none."""
    parser = argparse.ArgumentParser(prog="lit-rlvr sandbox check", description="Try every isolation of LocalSandbox here.")
    parser.parse_args(args)
    from lit_rlvr.sandbox.local import MEND, STRENGTHS
    from lit_rlvr.sandbox.probe import machine_facts, probe_isolation
    from lit_rlvr.sandbox.runtime import DEFAULT_PRELOAD, Runtime

    for name, words in machine_facts():
        print(f"{name:<18}{words}")
    runtime = Runtime(DEFAULT_PRELOAD)
    print(f"\n{'isolation':<18}{'start':>8}{'program':>12}{'of it CPU':>12}{'threads':>10}   self-test")
    probes = [probe_isolation(name, runtime) for name in STRENGTHS]
    for probe in probes:
        if probe.problem:
            print(f"{probe.name:<18}{'-':>8}{'-':>12}{'-':>12}{'-':>10}   unavailable: {probe.problem}")
            continue
        times = f"{probe.start_s:>6.2f} s{1e3 * probe.program_s:>9.1f} ms{1e3 * probe.program_cpu_s:>9.1f} ms"
        print(f"{probe.name:<18}{times}{probe.max_threads or 'by memory':>10}   passed")
    chosen = next((probe.name for probe in probes if not probe.problem), None)
    if chosen is None:
        print(f"\nNothing here can confine a program: LocalSandbox refuses to start. {MEND}")
        raise SystemExit(1)
    weaker = [probe.name for probe in probes if probe.problem and STRENGTHS.index(probe.name) < STRENGTHS.index(chosen)]
    why = f"{' and '.join(weaker)} cannot be had" if weaker else "nothing is stronger"
    print(f"\nLocalSandbox uses {chosen}: {why}.")
