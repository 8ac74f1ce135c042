"""Attacks on what Linkarms stores and publishes, none of which has a key unless it says so.

Each module is one attack, a function of what the attacker holds and knows, and says both:

- :mod:`~benchmarks.attacks.dictionary`: every NHS number through every construction that can be guessed.
- :mod:`~benchmarks.attacks.rank`: how often tokens occur against how often values do.
- :mod:`~benchmarks.attacks.patterns`: bits of filters that are set together against letter pairs that stand together.
- :mod:`~benchmarks.attacks.graph`: who is like whom among encodings against who is like whom among clear records.
- :mod:`~benchmarks.attacks.sizes`: what numbers of tokens, weights of filters and missing columns tell.
- :mod:`~benchmarks.attacks.insiders`: what K1 alone gives, and whoever can have guesses tokenised.
- :mod:`~benchmarks.attacks.releases`: what the published ids of two audiences or two releases have in common.

Every attack has a control, an encoding of the kind that fell in the literature, on which it has to succeed.

    python -m benchmarks.attacks             all of them; the dictionary over the NHS numbers kept for tests
    python -m benchmarks.attacks --whole     with the dictionary over the whole space of NHS numbers besides
    python -m benchmarks.attacks --write     the table of SECURITY.md anew from ``results.json``
"""
