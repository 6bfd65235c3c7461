"""Reading what the actions of one creature cost, and how often they may be used."""

from __future__ import annotations

from bgsim.models.battle.entries import Entry
from bgsim.models.battle.tables import Tables
from bgsim.models.battle.terms import SHORT_REST_RESOURCES, Reset

A_TURN = {"Action": 1.0, "BonusAction": 1.0, "Reaction": 1.0, "Movement": 30.0}
"""Resources that each creature has and that return each turn, and how much of them."""

MAX_COSTS = 20
"""Of one action."""


class CostReader:
    """Adds the resources of one creature and the costs of its actions to the tables of a battle.

    Parameters
    ----------
    tables : Tables
    srd : bool
        Whether to read by the rules of the SRD.
    pools : dict of (str, str) to int
        Type and name of the creature's own resources, and how much of each it has.
    """

    def __init__(self, tables: Tables, srd: bool, pools: dict[tuple[str, str], int]) -> None:
        self._tables = tables
        self._srd = srd
        self._pools = pools
        self._resources: dict[tuple[str, str], int] = {}

    def read(self, action: Entry) -> None:
        """Add the costs of an action; one of its uses is a cost, too."""
        self._limit(action)
        self._pay(action)

    def _limit(self, action: Entry) -> None:
        """Read how often an action may be used: a cost of one of its uses."""
        found = self._uses(action)
        if found is None:
            return
        uses, returns, recharge = found
        key = ("Uses", action.text("id") or action.where)
        if key not in self._resources:
            self._resources[key] = self._tables.add_resource(uses, returns, recharge)
        self._tables.costs.append((self._resources[key], 1.0))

    def _uses(self, action: Entry) -> tuple[float, Reset, float] | None:
        """Return uses, when they return and how they recharge; None for an action that may be used at will."""
        value = action.take("freq", default="at will")
        if isinstance(value, str):
            value = action.choice("freq", ("at will", "1/fight", "1/day"), "at will")
            if value == "at will":
                return None
            a_fight = Reset.FIGHT if self._srd else Reset.SHORT_REST
            return 1.0, a_fight if value == "1/fight" else Reset.LONG_REST, 0.0
        freq = action.entry("freq")
        assert freq is not None
        reset = freq.choice("reset", ("sr", "lr", "recharge"))
        if reset != "recharge":
            uses = float(freq.integer("uses", least=0))
            freq.close()
            return uses, Reset.SHORT_REST if reset == "sr" else Reset.LONG_REST, 0.0
        recharge = 0.0
        if not self._srd:
            freq.take("cooldownRounds")
        elif "roll" in freq.value:
            recharge = float(freq.integer("roll", least=2, most=6))
        else:
            recharge = -float(freq.integer("cooldownRounds", least=1))
        freq.close()
        return 1.0, Reset.RECHARGE if self._srd else Reset.FIGHT, recharge

    def _pay(self, action: Entry) -> None:
        """Read the costs of an action."""
        for cost in action.entries("cost", most=MAX_COSTS):
            kind = cost.choice("type", ("Discrete", "Variable"), "Discrete")
            resource = cost.text("resourceType")
            name = cost.text("resourceVal", "1" if resource == "SpellSlot" else "")
            if self._srd and resource == "SpellSlot":
                name = slot_level(name)
            amount = cost.number("amount" if kind == "Discrete" else "max", default=1.0)
            cost.take("min")
            self._tables.costs.append((self._resource(cost, resource, name), amount))
            cost.close()

    def _resource(self, cost: Entry, kind: str, name: str) -> int:
        """Return the row of the resource that a cost names, adding it where it is new."""
        key = (kind, "" if kind in A_TURN else name)
        if key not in self._resources:
            if kind in A_TURN:
                limit, returns = A_TURN[kind], Reset.TURN
            elif key in self._pools or not self._srd:
                limit = float(self._pools.get(key, 0))
                returns = Reset.SHORT_REST if name in SHORT_REST_RESOURCES else Reset.LONG_REST
            else:
                has = ", ".join(n for _, n in self._pools) or "none"
                raise cost.refusal("resourceVal", name, f"must name a {kind} of the creature (it has {has})")
            self._resources[key] = self._tables.add_resource(limit, returns)
        return self._resources[key]


def slot_level(name: str) -> str:
    """Return the level of a spell slot: "1" of "1st"."""
    return "".join(c for c in name if c.isdecimal()) or name
