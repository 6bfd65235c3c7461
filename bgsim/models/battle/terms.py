"""The words of a scenario and the numbers that stand for them in the kernel."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

import numpy as np


def int64s(numbers: Iterable[int]) -> Any:
    """Return numbers that numba takes as int64; for a plain constant it compiles a function that is given it anew."""
    return map(np.int64, numbers)


RULES = ("srd", "reference")
"""``srd``: the System Reference Document 5.1. ``reference``: as the application that the format comes from."""


class Act(enum.IntEnum):
    """What an action does."""

    ATTACK = 0
    SAVE_ATTACK = 1
    HEAL = 2
    EFFECT = 3


class Step(enum.IntEnum):
    """What happens at a step of the timeline."""

    COMBAT = 0
    SHORT_REST = 1
    LONG_REST = 2


class Reset(enum.IntEnum):
    """When a resource returns; those of a longer rest return what those of a shorter one do."""

    TURN = 0
    FIGHT = 1
    RECHARGE = 2
    SHORT_REST = 3
    LONG_REST = 4


class Lasts(enum.IntEnum):
    """How long an effect lasts under the SRD; by the reference rules each lasts for the fight."""

    ENCOUNTER = 0
    ROUNDS = 1
    ATTACK_MADE = 2
    ATTACK_TAKEN = 3
    SAVE_EACH_ROUND = 4
    DAMAGED = 5


ROUNDS_A_MINUTE = 10

DURATIONS = {
    "entire encounter": (Lasts.ENCOUNTER, 0),
    "1 round": (Lasts.ROUNDS, 1),
    "1 minute": (Lasts.ROUNDS, ROUNDS_A_MINUTE),
    "until next attack made": (Lasts.ATTACK_MADE, 0),
    "until next attack taken": (Lasts.ATTACK_TAKEN, 0),
    "repeat the save each round": (Lasts.SAVE_EACH_ROUND, 0),
    "until damaged": (Lasts.DAMAGED, 0),
}
"""How long an effect lasts: its end, and rounds where it counts them."""

# ---- the target of an action --------------------------------------------------------------------------

LEAST_HP, MOST_HP, LOWEST_AC, HIGHEST_AC, HIGHEST_DPR, SURVIVABILITY, SELF = range(7)
ALLY = 8
"""Added to a strategy that chooses among allies."""

_STRATEGIES = {
    "least HP": LEAST_HP,
    "most HP": MOST_HP,
    "lowest AC": LOWEST_AC,
    "highest AC": HIGHEST_AC,
    "highest DPR": HIGHEST_DPR,
    "highest survivability": SURVIVABILITY,
}
ENEMIES = {f"enemy with {how}": number for how, number in _STRATEGIES.items()}
ALLIES = {**{f"ally with {how}": ALLY + number for how, number in _STRATEGIES.items()}, "self": ALLY + SELF}
TARGETS = {**ENEMIES, **ALLIES}

ANYBODY, HURT, WITHOUT_TEMPORARY = range(3)
"""Which creatures come into question: all that are up, below the maximum, without temporary hit points."""

# ---- when an action is chosen, under the SRD ---------------------------------------------------------

ALWAYS, ALLY_DOWN, ALLY_BELOW, SELF_BELOW, NO_TEMPORARY, UNUSED, ONE_ENEMY, MANY_ENEMIES = range(8)
INACTIVE, UNFOCUSED = 8, 9

CONDITIONS = {
    "default": (ALWAYS, 0),
    "is available": (ALWAYS, 0),
    "ally at 0 HP": (ALLY_DOWN, 0),
    "any ally injured": (ALLY_BELOW, 100),
    "any ally needs healing": (ALLY_BELOW, 100),
    "ally below 75% HP": (ALLY_BELOW, 75),
    "ally under half HP": (ALLY_BELOW, 50),
    "ally below 50% HP": (ALLY_BELOW, 50),
    "any ally below 50% HP": (ALLY_BELOW, 50),
    "ally below 25% HP": (ALLY_BELOW, 25),
    "is under half HP": (SELF_BELOW, 50),
    "has no THP": (NO_TEMPORARY, 0),
    "not used yet": (UNUSED, 0),
    "enemy count one": (ONE_ENEMY, 0),
    "enemy count multiple": (MANY_ENEMIES, 0),
    "buff not active": (INACTIVE, 0),
    "not concentrating": (UNFOCUSED, 0),
}
"""When an action is chosen: the test, and a percentage of the hit point maximum where it has one."""

# ---- what an effect does, besides numbers ------------------------------------------------------------

ATTACKS_BETTER, ATTACKS_WORSE, ATTACKED_BETTER, ATTACKED_WORSE = 1, 2, 4, 8
SAVES_BETTER, SAVES_WORSE, DODGES_BETTER, HELPLESS, CRITICAL_TAKEN, TOUGH, MARK, HASTE = (1 << n for n in range(4, 12))
"""Bits: advantage and disadvantage on attacks, on attacks against it, on saves, on Dexterity saves; no actions or
reactions; every hit on it is critical; resistance to all damage; damage counts for the source against the bearer;
one more attack a turn."""

REFERENCE_STATES = {
    "Attacks with Advantage": ATTACKS_BETTER,
    "Attacks with Disadvantage": ATTACKS_WORSE,
    "Is attacked with Advantage": ATTACKED_BETTER,
    "Is attacked with Disadvantage": ATTACKED_WORSE,
    "Attacks and is attacked with Advantage": ATTACKS_BETTER,
    "Attacks and saves with Disadvantage": ATTACKS_WORSE,
}
"""Conditions that do something by the reference rules."""

STATES = {
    **REFERENCE_STATES,
    "Attacks and is attacked with Advantage": ATTACKS_BETTER | ATTACKED_BETTER,
    "Attacks and saves with Disadvantage": ATTACKS_WORSE | SAVES_WORSE,
    "Saves with Advantage": SAVES_BETTER,
    "Save with Disadvantage": SAVES_WORSE,
    "Blinded": ATTACKS_WORSE | ATTACKED_BETTER,
    "Exhausted": ATTACKS_WORSE | SAVES_WORSE,
    "Frightened": ATTACKS_WORSE,
    "Incapacitated": HELPLESS,
    "Invisible": ATTACKS_BETTER | ATTACKED_WORSE,
    "Paralyzed": HELPLESS | ATTACKED_BETTER | CRITICAL_TAKEN,
    "Petrified": HELPLESS | ATTACKED_BETTER | TOUGH,
    "Poisoned": ATTACKS_WORSE,
    "Restrained": ATTACKS_WORSE | ATTACKED_BETTER,
    "Stunned": HELPLESS | ATTACKED_BETTER,
    "Unconscious": HELPLESS | ATTACKED_BETTER | CRITICAL_TAKEN,
}
"""Conditions of the SRD, as far as a fight without positions knows them."""

ABILITIES = ("any", "str", "dex", "con", "int", "wis", "cha")
DEX, CON = int64s((2, 3))

DAMAGE_TYPES = (
    "untyped", "acid", "bludgeoning", "cold", "fire", "force", "lightning", "necrotic", "piercing", "poison",
    "psychic", "radiant", "slashing", "thunder",
)  # fmt: skip

# ---- templates ---------------------------------------------------------------------------------------

_ENEMY, _ALLY = "enemy with least HP", "ally with least HP"

TEMPLATES: dict[str, dict[str, Any]] = {
    "Bless": {"toHit": "1d4", "save": "1d4", "duration": "1 minute", "concentration": True, "target": _ALLY},
    "Bane": {
        "toHit": "-1d4", "save": "-1d4", "duration": "1 minute", "concentration": True, "target": _ENEMY,
        "ability": "cha",
    },
    "Haste": {"ac": 2, "flags": DODGES_BETTER | HASTE, "duration": "1 minute", "concentration": True, "target": _ALLY},
    "Shield": {"ac": 5, "duration": "1 round", "target": "self"},
    "Hypnotic Pattern": {
        "flags": HELPLESS, "duration": "until damaged", "rounds": ROUNDS_A_MINUTE, "concentration": True,
        "target": _ENEMY, "ability": "wis",
    },
    "Hunter's Mark": {"damage": "1d6", "flags": MARK, "concentration": True, "target": _ENEMY},
    "Hex": {"damage": "1d6", "flags": MARK, "concentration": True, "target": _ENEMY},
}  # fmt: skip
"""Spells of the SRD. One with an ability is resisted by a save of that ability."""

REFERENCE_TEMPLATES: dict[str, dict[str, Any]] = {
    "bless": {"toHit": "1d4", "save": "1d4", "concentration": True, "target": _ALLY},
    "bane": {"toHit": "-1d4", "save": "-1d4", "concentration": True, "target": _ENEMY, "ability": "any"},
    "haste": {"ac": 2, "concentration": True, "target": _ALLY},
    "shield": {"ac": 5, "target": _ALLY},
    "hypnotic pattern": {"concentration": True, "target": _ENEMY},
    "hunter's mark": {"concentration": True, "target": _ENEMY},
    "hex": {"concentration": True, "target": _ENEMY},
}
"""What the reference rules make of a template, by its name in lower case; any other one does nothing."""

FOCUSED = ("Bless", "Bane", "Haste", "Hypnotic Pattern")
"""Templates that the reference rules do not choose while the caster concentrates."""

DEFAULT_BANE_DC = 13

SHORT_REST_RESOURCES = frozenset(
    {
        "Ki", "Action Surge", "Superiority Dice", "Wild Shape", "Channel Divinity", "Warlock Spell Slot",
        "Bardic Inspiration", "Second Wind", "Frenzy",
    }
)  # fmt: skip
"""Class resources that return with a short rest; the others want a long one."""
