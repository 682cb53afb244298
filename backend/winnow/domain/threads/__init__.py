"""Who answers whom: conversations taken apart by rules, one message at a time."""

from winnow.domain.threads.heard import READ_CHARACTERS
from winnow.domain.threads.linker import HORIZON_SECONDS, LOOK_BACK, Link, Linker, Said

__all__ = ["HORIZON_SECONDS", "LOOK_BACK", "READ_CHARACTERS", "Link", "Linker", "Said"]
