"""The signed agreement: reading it, what it implies, and whether a partner may submit.

>>> from protocol import default_agreement_folder, load_agreement
>>> load_agreement(default_agreement_folder()).version
'1.0'
"""

from protocol.compiled import compile_for_dags, write_compiled
from protocol.digest import agreement_digest, sign
from protocol.errors import LinkarmsError
from protocol.finding import Finding, Scope
from protocol.gate import check_gate, is_signed
from protocol.loading import default_agreement_folder, load_agreement
from protocol.model import Agreement
from protocol.pool import PoolColumn, pool_columns
from protocol.rules import rules_of

__all__ = [
    "Agreement",
    "Finding",
    "LinkarmsError",
    "PoolColumn",
    "Scope",
    "agreement_digest",
    "check_gate",
    "compile_for_dags",
    "default_agreement_folder",
    "is_signed",
    "load_agreement",
    "pool_columns",
    "rules_of",
    "sign",
    "write_compiled",
]
