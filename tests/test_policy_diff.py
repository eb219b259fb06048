"""What is different between two policies: every rule is accounted for once."""

from hypothesis import given
from hypothesis import strategies as st

from auditring import Keep, Policy, Rule
from auditring.policy import diff


def test_a_diff_says_what_was_added_removed_moved_and_changed() -> None:
    """By number, in the order of the rules, and whatever else is different."""
    a, b, c, d = (Rule(resource=name, keep=Keep.OFF) for name in "abcd")
    kept = Rule(resource="b", keep=Keep.ALL)
    what = diff(Policy(rules=[a, b, c], seed=1), Policy(rules=[c, a, kept, d], seed=2, allow_blind_spots=True))
    assert str(what).splitlines() == [
        "rule 1 moved, it was rule 3: Rule(resource='c', keep=Keep.OFF)",
        "rule 3 changed, rule 2 before: Rule(resource='b', keep=Keep.ALL), was Keep.OFF",
        "rule 4 added: Rule(resource='d', keep=Keep.OFF)",
        "seed: 2, was 1",
        "allow_blind_spots: True, was False",
    ]
    assert what.removed == ()
    assert diff(Policy(rules=[a, b]), Policy(rules=[a])).removed == ((2, b),)
    same = diff(Policy(rules=[a, a]), Policy(rules=[a, a]))
    assert not same
    assert str(same) == "nothing is different"


@given(*[st.lists(st.sampled_from("abcd"), max_size=5)] * 2)
def test_a_diff_accounts_for_every_rule_once(before: list[str], after: list[str]) -> None:
    """What stays, moves, changes and is removed are the old rules; what stays, moves, changes and is added the new."""
    old, new = ([Rule(resource=name, keep=Keep.OFF) for name in names] for names in (before, after))
    what = diff(Policy(rules=old), Policy(rules=new))
    both = len(what.moved) + len(what.changed)
    assert len(old) - both - len(what.removed) == len(new) - both - len(what.added) >= 0
    assert not what.changed, "rules of the same conditions are the same here"
    assert all(new[number - 1] == rule for number, rule in what.added)
    assert all(old[was - 1] == new[now - 1] == rule for was, now, rule in what.moved)
    assert bool(what) == (old != new)
