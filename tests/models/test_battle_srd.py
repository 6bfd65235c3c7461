"""The SRD's rules, each in a small fight against an exact Markov chain or closed form."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from battles import (
    ALWAYS_FAILED,
    assert_mean,
    bane,
    boon,
    burn,
    creature,
    day,
    duel,
    fixed,
    hit_chance,
    mean,
    rounds_until_over,
    run,
    save_chance,
    spell,
    strike,
)

from bgsim.models.battle.terms import STATES

CERTAIN = burn(1000)
"""An attack that kills whoever it meets."""


def target(**more: Any) -> dict[str, Any]:
    """Return a monster with one hit point and armor class 15, that does nothing unless told so."""
    return creature("M", **{"hp": 1, "first": 100, **more})


def attacker(*actions: Any, **more: Any) -> dict[str, Any]:
    return creature("P", **{"hp": 100, "actions": actions or [strike(1)], **more})


def single(chance: float) -> Any:
    """Return the step of a chain that ends in each round with this chance."""
    return lambda state: [(chance, None), (1 - chance, state)]


# ---- attacks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", ["srd", "reference"])
def test_a_d20_in_the_bonus_is_rolled_by_the_reference_rules_only(rules: str) -> None:
    result = run(duel(attacker(strike(1, "1d20+2")), target(), rules))
    twice = sum(n == 20 or (n > 1 and n + m + 2 >= 15) for n in range(1, 21) for m in range(1, 21)) / 400
    chance = twice if rules == "reference" else hit_chance(2, 15)
    assert_mean(result["rounds"], mean(rounds_until_over(0, single(chance))))


@pytest.mark.parametrize(("rules", "bonus"), [("srd", 20), ("reference", 10)])
def test_a_critical_doubles_the_dice_of_effects_too(rules: str, bonus: int) -> None:
    """A critical is 1 + 20 under the SRD: enough for 21 hit points at once; else two hits are needed."""
    p = attacker(boon({"damage": "10d1"}), strike(1))
    critical = 1 + bonus >= 21

    def step(hits: int) -> Any:
        ends, hit = 1 / 20 if critical else 0.0, hit_chance(5, 15)
        if hits:
            return single(hit)(hits)
        return [(ends, None), (hit - ends, 1), (1 - hit, 0)]

    assert_mean(run(duel(p, target(hp=21), rules))["rounds"], mean(rounds_until_over(0, step)))


ADVANTAGES = {
    "Attacks with Advantage": (1, 0),
    "Attacks with Disadvantage": (-1, 0),
    "Is attacked with Advantage": (0, 1),
    "Is attacked with Disadvantage": (0, -1),
    "Attacks and is attacked with Advantage": (1, 1),
    "Attacks and saves with Disadvantage": (-1, 0),
    "Saves with Advantage": (0, 0),
    "Save with Disadvantage": (0, 0),
    "Blinded": (-1, 1),
    "Exhausted": (-1, 0),
    "Frightened": (-1, 0),
    "Incapacitated": (None, 0),
    "Invisible": (1, -1),
    "Paralyzed": (None, 1),
    "Petrified": (None, 1),
    "Poisoned": (-1, 0),
    "Restrained": (-1, 1),
    "Stunned": (None, 1),
    "Unconscious": (None, 1),
}
"""What a condition does to its bearer's attacks (None: it has none), and to attacks on it."""


@pytest.mark.parametrize("condition", STATES)
def test_conditions_give_advantage_and_disadvantage(condition: str) -> None:
    own, on_it = ADVANTAGES[condition]
    state = {"condition": condition}
    attacks = run(duel(attacker(strike(2), boon(state, actionSlot=-3)), target()))
    chance = 0.0 if own is None else hit_chance(5, 15, own)
    assert_mean(attacks["rounds"], mean(rounds_until_over(0, single(chance))))
    attacked = run(duel(attacker(strike(2)), target(actions=[boon(state, actionSlot=-3)])))
    assert_mean(attacked["rounds"], mean(rounds_until_over(0, single(hit_chance(5, 15, on_it)))))


def test_advantage_and_disadvantage_cancel() -> None:
    blind = [boon({"condition": "Poisoned"}, actionSlot=-3)]
    result = run(duel(attacker(strike(1), *blind), target(actions=[boon({"condition": "Blinded"}, actionSlot=-3)])))
    assert_mean(result["rounds"], mean(rounds_until_over(0, single(hit_chance(5, 15)))))


def test_every_hit_on_the_paralyzed_is_critical() -> None:
    """10 dice of one side do 20: it falls at the first hit."""
    result = run(
        duel(attacker(strike("10d1")), target(hp=20, actions=[boon({"condition": "Paralyzed"}, actionSlot=-3)]))
    )
    assert_mean(result["rounds"], mean(rounds_until_over(0, single(hit_chance(5, 15, 1)))))


# ---- durations ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration", "covered"), [("1 round", 1), ("3 rounds", 3), ("1 minute", 10), ("entire encounter", 50)]
)
def test_an_effect_ends_after_its_rounds(duration: str, covered: int) -> None:
    """The monster goes first and is out of reach, but for a natural 20, until the effect ends with its turn."""
    guard = boon({"ac": 100, "duration": duration}, freq="1/day")

    def step(n: int) -> Any:
        hit = hit_chance(5, 115 if n < covered else 15)
        return [(hit, None), (1 - hit, n + 1)]

    result = run(duel(attacker(), target(actions=[guard])))
    assert_mean(result["rounds"], mean(rounds_until_over(0, step)))


def test_the_reference_rules_know_no_durations() -> None:
    guard = boon({"ac": 100, "duration": "1 round"}, freq="1/day")
    with pytest.warns(UserWarning, match="ignores: duration = '1 round'"):
        p = duel(attacker(), target(actions=[guard]), "reference")
    assert_mean(run(p)["rounds"], mean(rounds_until_over(0, single(hit_chance(5, 115)))))


def test_until_the_next_attack_taken() -> None:
    """Of two attacks in the first round the second meets the armor alone."""
    guard = boon({"ac": 100, "duration": "until next attack taken"}, freq="1/day")
    p, guarded = hit_chance(5, 15), hit_chance(5, 115)

    def step(n: int) -> Any:
        miss = (1 - guarded if n == 0 else 1 - p) * (1 - p)
        return [(1 - miss, None), (miss, 1)]

    result = run(duel(attacker(strike(1, targets=2)), target(actions=[guard])))
    assert_mean(result["rounds"], mean(rounds_until_over(0, step)))


def test_until_the_next_attack_made() -> None:
    aim = boon({"toHit": 100, "duration": "until next attack made"}, actionSlot=-3)
    p, aimed = hit_chance(5, 15), hit_chance(105, 15)

    def step(n: int) -> Any:
        miss = (1 - aimed if n == 0 else 1 - p) * (1 - p)
        return [(1 - miss, None), (miss, 1)]

    assert_mean(run(duel(attacker(aim, strike(1, targets=2)), target()))["rounds"], mean(rounds_until_over(0, step)))


def test_saves_are_repeated_each_round() -> None:
    """The monster kills as soon as it may act; held at first by a failed save, it tries again after each turn."""
    hold = bane({"condition": "Incapacitated", "duration": "repeat the save each round"}, 15, freq="1/day")
    keeps = 1 - save_chance(4, 15)

    def step(held: bool) -> Any:
        return [(keeps, True), (1 - keeps, False)] if held else [(1.0, None)]

    ends = rounds_until_over(True, step)  # as if it were held for certain
    exact = (1 - keeps) * 1 + keeps * mean(ends)
    result = run(duel(attacker(hold, first=200), target(saveBonus=4, actions=[CERTAIN])))
    assert_mean(result["rounds"], exact)


# ---- concentration -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("damage", "dc"), [(10, 10), (30, 15), (41, 20)])
def test_damage_breaks_concentration(damage: int, dc: int) -> None:
    """A Constitution save against 10 or half the damage; when it fails, the effect ends."""
    shell = boon({"ac": 100, "concentration": True}, actionSlot=-3)
    breaks = 1 - save_chance(4, dc)

    def step(state: tuple[int, bool]) -> Any:
        hits, focused = state
        hit = hit_chance(5, 115 if focused else 15)
        if hits == 2:
            return [(hit, None), (1 - hit, state)]
        lost = breaks if focused else 1.0
        return [(hit * lost, (hits + 1, False)), (hit * (1 - lost), (hits + 1, True)), (1 - hit, state)]

    monster = target(hp=3 * damage, saveBonus=0, conSaveBonus=4, actions=[shell])
    result = run(duel(attacker(strike(damage)), monster))
    assert_mean(result["rounds"], mean(rounds_until_over((0, True), step)))


@pytest.mark.parametrize("field", ["conSaveAdvantage", "saveAdvantage"])
def test_advantage_on_saves_helps_to_concentrate(field: str) -> None:
    """Damage of 1 is certain; the first failed save takes the shell off, and the next attack kills."""
    shell = boon(
        {"damageReduction": 0, "condition": "Is attacked with Advantage", "concentration": True}, actionSlot=-3
    )
    breaks = (1 - save_chance(0, 10)) ** 2
    kill = strike(100, to_hit=0, actionSlot=1)
    with_it, without = hit_chance(0, 20, 1), hit_chance(0, 20)

    def step(focused: bool) -> Any:
        lost = breaks if focused else 1.0
        return [
            (lost * without, None), (lost * (1 - without), False),
            ((1 - lost) * with_it, None), ((1 - lost) * (1 - with_it), True),
        ]  # fmt: skip

    monster = target(hp=100, ac=20, actions=[shell], **{field: True})
    assert_mean(run(duel(attacker(burn(1), kill), monster))["rounds"], mean(rounds_until_over(True, step)))


def test_concentration_ends_with_consciousness() -> None:
    """The caster falls before its friend's turn, so the friend lacks the bonus."""
    caster = creature(
        "C", 1, first=300, actions=[boon({"toHit": 100, "concentration": True}, target="ally with most HP")]
    )
    friend = creature("F", 1000, actions=[strike(1)])
    killer = creature("M", 1, first=100, actions=[burn(5, target="enemy with least HP", freq="1/day")])
    result = run(duel([caster, friend], killer))
    assert_mean(result["rounds"], mean(rounds_until_over(0, single(hit_chance(5, 15)))))


# ---- at 0 hit points ---------------------------------------------------------------------------------


def fate_of_the_fallen(rounds: int = 50) -> tuple[float, float, float]:
    """Return the chances to be dead, down and up after that many rounds, each with a fall, where up, and a death save."""
    states: dict[Any, float] = {(0, 0): 1.0}
    for _ in range(rounds):
        following: dict[Any, float] = {}

        def add(state: Any, weight: float, into: dict[Any, float] = following) -> None:
            into[state] = into.get(state, 0.0) + weight

        for state, weight in states.items():
            if state in ("dead", "stable"):
                add(state, weight)
                continue
            good, bad = (0, 0) if state == "up" else state  # one that is up is struck down again
            for n in range(1, 21):
                if n == 20:
                    add("up", weight / 20)
                elif n >= 10:
                    add("stable" if good == 2 else (good + 1, bad), weight / 20)
                else:
                    worse = bad + (2 if n == 1 else 1)
                    add("dead" if worse >= 3 else (good, worse), weight / 20)
        states = following
    dead, up = states.get("dead", 0.0), states.get("up", 0.0)
    return dead, 1 - dead - up, up


def test_death_saves() -> None:
    fallen, bystander = creature("F", 1, first=50), creature("H", 1000)
    result = run(duel([fallen, bystander], creature("M", 1000, first=100, actions=[burn(1)])))
    dead, _, up = fate_of_the_fallen()
    assert_mean(result["died"][:, 0], dead)
    assert_mean(result["hit_points"][:, 0, 0], up)
    assert np.all(result["outcome"] == 0)


@pytest.mark.parametrize(("damage", "dies"), [(19, False), (20, True)])
def test_massive_damage_kills_outright(damage: int, dies: bool) -> None:
    """Where what is left over is the hit point maximum, 10."""
    fallen, bystander = creature("F", 10, first=-50), creature("H", 1000, actions=[strike(1000, 1000)])
    p = duel([fallen, bystander], creature("M", 1, ac=0, first=100, actions=[burn(damage, freq="1/day")]))
    result = run(p)
    first_round = result["rounds"] == 1  # before the fallen's turn
    assert np.all(result["died"][first_round, 0] == dies)
    assert first_round.mean() > 0.9


@pytest.mark.parametrize(("rules", "left"), [("srd", 1), ("reference", 0)])
def test_healing_revives(rules: str, left: int) -> None:
    """Struck down in each round and healed in each: one death save at most, and never dead."""
    heal = {"type": "heal", "name": "heal", "amount": 5, "target": "ally with the least HP"}
    party = [creature("F", 1, first=50), creature("H", 1000, actions=[heal])]
    struck = strike(1, 1000) if rules == "reference" else burn(1)
    result = fixed(duel(party, creature("M", 1000, first=100, actions=[struck]), rules))
    if rules == "srd":
        assert np.all(result["hit_points"][:, 0, 0] == left)
        assert not result["died"][:, 0].any()
    else:
        assert np.all((result["hit_points"][:, 0, 0] == left) & (result["died"][:, 0] == 1))


def test_who_is_down_is_stable_when_the_fight_is_won_and_wakes_after_a_rest() -> None:
    party = [creature("F", 4, first=-50), creature("H", 1000, actions=[burn(1000)])]
    ambush = creature("M", 5, first=100, actions=[burn(4, target="enemy with least HP")])
    result = fixed(day(party, ambush, "shortRest", creature("N", 5)))
    np.testing.assert_array_equal(result["hit_points"][0, :, 0], [0, 1])
    assert not result["died"][:, 0].any()
    assert np.all(result["deaths"] == 0)


# ---- saves, resistance -------------------------------------------------------------------------------


@pytest.mark.parametrize("halves", [True, False])
def test_saves_halve_damage(halves: bool) -> None:
    saved = save_chance(4, 15)

    def step(left: int) -> Any:
        after = [(1 - saved, left - 21), (saved, left - (10 if halves else 0))]
        return [(chance, then if then > 0 else None) for chance, then in after]

    p = duel(attacker(burn(21, 15, halfOnSave=halves)), target(hp=50, saveBonus=4))
    assert_mean(run(p)["rounds"], mean(rounds_until_over(50, step)))


def test_a_save_is_of_the_named_ability() -> None:
    p = duel(attacker(burn(1, 15, saveAbility="dex")), target(saveBonus=100, dexSaveBonus=-4))
    assert_mean(run(p)["rounds"], mean(rounds_until_over(0, single(1 - save_chance(-4, 15)))))


def test_one_roll_of_damage_for_all_targets() -> None:
    """Both fall to a roll of 5 or more, or neither."""
    blast = burn("1d10", targets=2, freq="1/day")
    result = run(duel(attacker(blast), [creature(n, 5, saveBonus=0) for n in ("M", "N")]))
    left = result["hit_points"][:, 0, 1:]
    np.testing.assert_array_equal(left[:, 0], left[:, 1])
    assert_mean(left[:, 0] == 0, 6 / 10)


@pytest.mark.parametrize(
    ("traits", "state", "a_hit"),
    [
        ({}, {}, 7),
        ({"resistances": ["fire"]}, {}, 3),
        ({"resistances": ["cold"]}, {}, 7),
        ({"vulnerabilities": ["fire"]}, {}, 14),
        ({"resistances": ["fire"], "vulnerabilities": ["fire"]}, {}, 6),
        ({"immunities": ["fire"]}, {}, 0),
        ({}, {"damageTakenMultiplier": 0.5}, 3),
        ({"resistances": ["fire"]}, {"damageTakenMultiplier": 0.5}, 3),
        ({}, {"damageTakenMultiplier": 2}, 14),
        ({}, {"damageReduction": 2}, 5),
        ({"resistances": ["fire"]}, {"damageReduction": "2d1"}, 2),
        ({}, {"condition": "Petrified"}, 3),
    ],
)
def test_resistance_immunity_vulnerability_and_reduction(traits: Any, state: Any, a_hit: int) -> None:
    """Reductions first, then one halving, then one doubling; fractions are dropped."""
    actions = [boon(state, actionSlot=-3)] if state else []
    p = duel(attacker(burn(7, damageType="fire")), target(hp=42, actions=actions, **traits))
    assert np.all(fixed(p)["rounds"] == (-(-42 // a_hit) if a_hit else 50))


@pytest.mark.parametrize(("factor", "a_hit"), [(2, 14), (0.5, 3), (0, 0)])
def test_effects_multiply_damage_dealt(factor: float, a_hit: int) -> None:
    p = attacker(boon({"damageMultiplier": factor}, actionSlot=-3), strike(7))
    result = run(duel(p, target(hp=1000)), replicates=200)
    assert set(np.unique(result["damage_taken"][:, 1] % a_hit if a_hit else result["damage_taken"][:, 1])) == {0}


# ---- surprise, recharge ------------------------------------------------------------------------------


@pytest.mark.parametrize("surprised", [True, False])
def test_the_surprised_lose_their_first_turn(surprised: bool) -> None:
    """The monster would kill before any other creature moves."""
    result = run(duel(attacker(), target(actions=[CERTAIN]), monstersSurprised=surprised))
    assert_mean(result["party_won"], hit_chance(5, 15) if surprised else 0.0)


def test_the_surprised_have_no_reaction_before_their_turn() -> None:
    shield = {"condition": "on being attacked", "cost": 4, "action": spell("Shield")}
    party = attacker(strike(1), first=1000)
    result = run(duel(party, target(triggers=[shield], first=0), monstersSurprised=True))

    def step(n: int) -> Any:
        hit = hit_chance(5, 15) if n == 0 else hit_chance(5, 20)
        return [(hit, None), (1 - hit, 1)]

    assert_mean(result["rounds"], mean(rounds_until_over(0, step)))


@pytest.mark.parametrize("roll", [5, 6])
def test_a_d6_recharges(roll: int) -> None:
    breath = burn(10, freq={"reset": "recharge", "roll": roll})

    def step(used: int) -> Any:
        ready = 1.0 if used == 0 else (7 - roll) / 6
        return [(ready, used + 1 if used < 2 else None), (1 - ready, used)]

    result = run(duel(creature("P", 30), target(actions=[breath])))
    assert_mean(result["rounds"], mean(rounds_until_over(0, step)))


@pytest.mark.parametrize(("turns", "rounds"), [(1, 3), (2, 5), (3, 7)])
def test_an_action_recharges_after_some_turns(turns: int, rounds: int) -> None:
    breath = burn(10, freq={"reset": "recharge", "cooldownRounds": turns})
    result = fixed(duel(creature("P", 30), target(actions=[breath])))
    assert np.all(result["rounds"] == rounds)


# ---- spells ------------------------------------------------------------------------------------------


def test_bless_rolls_its_die_on_saves_and_attacks() -> None:
    bless = spell("Bless", actionSlot=-3)
    chance = np.mean([hit_chance(5 + d, 15) for d in range(1, 5)])
    assert_mean(run(duel(attacker(strike(1), bless), target()))["rounds"], mean(rounds_until_over(0, bounded(chance))))
    saved = np.mean([save_chance(d, 15) for d in range(1, 5)])
    p = duel(attacker(burn(1, 15)), target(saveBonus=0, actions=[bless]))
    assert_mean(run(p)["rounds"], mean(rounds_until_over(0, bounded(1 - saved, 1 - save_chance(0, 15)))))


def bounded(chance: float, then: float | None = None) -> Any:
    """Return the step of a spell of 10 rounds, cast before the first: its chance while it lasts, then another."""
    plain = hit_chance(5, 15) if then is None else then

    def step(n: int) -> Any:
        now = chance if n < 9 else plain
        return [(now, None), (1 - now, n + 1)]

    return step


def test_bane_is_resisted_by_charisma() -> None:
    curse = spell("Bane", {"saveDC": 15}, actionSlot=-3)
    monster = target(hp=1000, saveBonus=100, chaSaveBonus=4, actions=[strike(1)])
    result = run(duel(creature("P", 1, actions=[curse]), monster))
    failed = 1 - save_chance(4, 15)
    cursed = float(np.mean([hit_chance(5 - d, 15) for d in range(1, 5)]))
    exact = failed * mean(rounds_until_over(0, bounded(cursed))) + (1 - failed) * mean(
        rounds_until_over(0, single(hit_chance(5, 15)))
    )
    assert_mean(result["rounds"], exact)


def test_two_of_one_name_count_once() -> None:
    """Two clerics bless one friend: one die."""
    clerics = [
        creature(n, 1000, first=200, actions=[spell("Bless", {"target": "ally with least HP"}, actionSlot=-3)])
        for n in "AB"
    ]
    result = run(duel([attacker(strike(1)), *clerics], target()))
    chance = float(np.mean([hit_chance(5 + d, 15) for d in range(1, 5)]))
    assert_mean(result["rounds"], mean(rounds_until_over(0, bounded(chance))))


def test_shield_stops_what_would_just_hit_and_stays_until_the_next_turn() -> None:
    """Two attacks a round: the first that hits by less than 5 is stopped, and what follows meets 5 more."""
    shield = {"condition": "on being attacked", "cost": 4, "action": spell("Shield")}
    plain, raised = hit_chance(5, 15), hit_chance(5, 20)
    stopped = plain - raised

    def step(state: int) -> Any:
        survives = stopped * (1 - raised) + (1 - plain) * (1 - raised)
        return [(1 - survives, None), (survives, state)]

    result = run(duel(attacker(strike(1, targets=2)), target(triggers=[shield])))
    assert_mean(result["rounds"], mean(rounds_until_over(0, step)))


def test_shield_costs_its_slot() -> None:
    cost = [{"type": "Discrete", "resourceType": "SpellSlot", "resourceVal": "1", "amount": 1}]
    shield = {"condition": "on being attacked", "cost": 4, "action": spell("Shield", cost=cost)}
    plain, raised = hit_chance(5, 15), hit_chance(5, 20)

    def step(slots: int) -> Any:
        if slots == 0:
            return single(plain)(0)
        return [(raised, None), (plain - raised, slots - 1), (1 - plain, slots)]

    result = run(duel(attacker(), target(triggers=[shield], spellSlots={"1st": 2})))
    assert_mean(result["rounds"], mean(rounds_until_over(2, step)))


def test_haste_gives_armor_and_one_more_attack() -> None:
    chance = 1 - (1 - hit_chance(5, 15)) ** 2
    plain = hit_chance(5, 15)
    result = run(duel(attacker(strike(1), spell("Haste", actionSlot=-3)), target()))
    assert_mean(result["rounds"], mean(rounds_until_over(0, bounded(chance, plain))))
    result = run(duel(attacker(), target(actions=[spell("Haste", actionSlot=-3)])))
    assert_mean(result["rounds"], mean(rounds_until_over(0, bounded(hit_chance(5, 17), plain))))


def test_a_hypnotic_pattern_holds_until_damage() -> None:
    """Held for certain, the monster is struck once by a certain blow, wakes, and kills."""
    pattern = spell("Hypnotic Pattern", {"saveDC": ALWAYS_FAILED}, actionSlot=-3)
    blow = burn(1, freq={"reset": "lr", "uses": 1})
    result = fixed(duel(creature("P", 1, actions=[pattern, blow]), target(hp=10, actions=[CERTAIN])))
    assert np.all(result["rounds"] == 2)
    alone = fixed(duel(creature("P", 1, actions=[pattern]), target(hp=10, actions=[CERTAIN])))
    assert np.all(alone["rounds"] == 10 + 1)  # a minute; then the monster moves before its caster


def test_a_mark_counts_for_its_source() -> None:
    mark = spell("Hunter's Mark", actionSlot=-3)
    party = [
        creature("P", 100, first=10, actions=[mark, strike(1, 1000)]),
        creature("Q", 100, first=5, actions=[strike(1, 1000)]),
    ]
    result = run(duel(party, creature("M", 10_000, ac=1)), replicates=4000)
    attacks = 50
    hit, critical = 19 / 20, 1 / 20
    assert_mean(result["damage_dealt"][:, 0], attacks * (hit + (hit + critical) * 3.5))
    assert_mean(result["damage_dealt"][:, 1], attacks * hit)


def test_a_rider_follows_a_hit() -> None:
    """Poison on a hit that fails to save: then attacks with disadvantage."""
    rider = {"dc": 15, "ability": "con", "buff": {"condition": "Incapacitated", "duration": "1 round"}}
    monster = target(hp=1000, conSaveBonus=4, first=0, actions=[burn(1)])
    p = attacker(strike(1, riderEffect=rider), hp=1, first=100)
    held = hit_chance(5, 15) * (1 - save_chance(4, 15))
    result = run(duel(p, monster))
    assert_mean(result["rounds"], mean(rounds_until_over(0, lambda s: [(1 - held, None), (held, s)])))


# ---- uses, rests, resources --------------------------------------------------------------------------

LETTERS = {"at will": "oooo", "1/fight": "oooo", "1/day": "o--o", "sr": "o-oo", "lr": "o--o"}


@pytest.mark.parametrize("freq", LETTERS)
def test_uses_return_with_fights_and_rests(freq: str) -> None:
    """Four fights, a short rest before the third, a long one before the last; each is won only with the use."""
    use = freq if "/" in freq or freq == "at will" else {"reset": freq, "uses": 1}
    weak = [creature(f"M{n}", 1) for n in range(4)]
    p = day(creature("P", 10, actions=[burn(1, freq=use)]), weak[0], weak[1], "shortRest", weak[2], "longRest", weak[3])
    outcome = fixed(p)["outcome"]
    assert np.all(outcome == [1 if letter == "o" else 0 for letter in LETTERS[freq]])


@pytest.mark.parametrize(
    ("kind", "name", "letters"),
    [
        ("ClassResource", "Ki", "o-oo"),
        ("ClassResource", "Rage", "o--o"),
        ("SpellSlot", "1", "o--o"),
        ("Action", "", "oooo"),
    ],
)
def test_costs_are_paid_from_resources(kind: str, name: str, letters: str) -> None:
    cost = [{"type": "Discrete", "resourceType": kind, "resourceVal": name, "amount": 1}]
    has = {"classResources": {name: 1}} if kind == "ClassResource" else {"spellSlots": {"1": 1}}
    weak = [creature(f"M{n}", 1) for n in range(4)]
    player = creature("P", 10, actions=[burn(1, cost=cost)], **has)
    outcome = fixed(day(player, weak[0], weak[1], "shortRest", weak[2], "longRest", weak[3]))["outcome"]
    assert np.all(outcome == [1 if letter == "o" else 0 for letter in letters])


def test_an_action_is_one_a_turn() -> None:
    """Two things that cost the action, in two slots: one of them is done."""
    cost = [{"type": "Discrete", "resourceType": "Action", "amount": 1}]
    p = attacker(burn(1, cost=cost), burn(1, cost=cost, actionSlot=5))
    assert np.all(fixed(duel(p, target(hp=3)))["rounds"] == 3)


def test_hit_dice_are_thrown_in_a_short_rest() -> None:
    """Of 2d8 with Constitution 1 at 12 of 20 hit points: one die fits at least, the second where 5.5 more does."""
    wounded = creature("P", 20, actions=[burn(1000)], hitDice="2d8", conModifier=1)
    result = run(day(wounded, creature("M", 1, first=100, actions=[burn(8)]), "shortRest", creature("N", 1)))
    exact = 0.0
    for first, second in itertools.product(range(1, 9), repeat=2):
        hp = min(12 + first + 1, 20)
        hp = min(hp + second + 1, 20) if hp + 5.5 <= 20 else hp
        exact += hp / 64
    assert_mean(result["hit_points"][:, 1, 0], exact)


def test_a_long_rest_gives_back_all_hit_points_and_half_the_dice() -> None:
    """Four d6 are spent; two return, and are spent in their turn."""
    bites = creature("M", 1, first=100, actions=[burn(40)])
    wounded = creature("P", 50, actions=[burn(1000)], hitDice="4d6", conModifier=-3)  # of no use: thrown, not below 0
    steps = [bites, "shortRest", "longRest", {**bites, "id": "N"}, "shortRest", creature("O", 1)]
    hit_points = run(day(wounded, *steps), replicates=4000)["hit_points"]
    gained = [max(0, n - 3) for n in range(1, 7)]
    assert np.all(hit_points[:, 1, 0] == 10)  # from 50, after the long rest
    assert_mean(hit_points[:, 2, 0], 10 + 2 * sum(gained) / 6)


def test_temporary_hit_points_do_not_add_up_and_go_with_a_rest() -> None:
    ward = {"type": "heal", "name": "ward", "actionSlot": 1, "amount": 5, "tempHP": True, "target": "self"}
    p = creature("P", 10, first=200, actions=[ward])
    result = fixed(duel(p, target(hp=1000, first=0, actions=[burn(6)])))
    assert np.all(result["rounds"] == 10)  # 1 a round: what the ward does not stop


# ---- choosing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "rounds"),
    [
        ("default", 1),
        ("is under half HP", 2),
        ("not used yet", 1),
        ("enemy count one", 1),
        ("enemy count multiple", None),
    ],
)
def test_conditions_of_actions(condition: str, rounds: int | None) -> None:
    """The monster loses 4 of 10 in each round; its killing action waits for its condition."""
    monster = target(hp=10, first=0, actions=[{**CERTAIN, "condition": condition}])
    result = fixed(duel(creature("P", 5, first=100, actions=[burn(4)]), monster))
    assert np.all(result["outcome"] == (1 if rounds is None else -1))
    assert np.all(result["rounds"] == (rounds or 3))


def test_not_used_yet_is_once_a_fight() -> None:
    p = creature("P", 10, actions=[burn(1, condition="not used yet")])
    result = fixed(day(p, creature("M", 2), creature("N", 1)))
    assert np.all(result["outcome"] == [0, 1])


def test_an_ally_at_0_is_healed_first() -> None:
    """The healer attacks unless a creature is down: that is so in the first round alone."""
    heal = {
        "type": "heal",
        "name": "heal",
        "amount": 5,
        "target": "ally with the least HP",
        "condition": "ally at 0 HP",
    }
    party = [creature("F", 5, first=-50), creature("H", 100, actions=[heal, burn(1)])]
    monster = creature("M", 3, first=100, actions=[burn(5, freq="1/day")])
    assert np.all(fixed(duel(party, monster))["rounds"] == 4)


def test_before_the_encounter() -> None:
    """It is done once, before initiative counts."""
    p = creature("P", 10, actions=[burn(1, actionSlot=-3)])
    result = fixed(duel(p, target(hp=1, actions=[CERTAIN])))
    assert np.all(result["party_won"])
    assert np.all(result["rounds"] == 0)
