from mixchat.chat.checkpoints import free_name, last_name


def test_names_are_counted_by_kind() -> None:
    assert free_name((), "fork") == "fork 1"
    assert free_name(("fork 1", "undone 1", "fork 3"), "fork") == "fork 2"
    assert free_name(("fork 1", "undone 1"), "undone") == "undone 2"


def test_a_person_s_own_checkpoint_goes_before_those_that_were_set_by_the_way() -> None:
    assert last_name(("fork 1", "mine", "undone 1", "left 2")) == "mine"
    assert last_name(("undone 1", "left 2")) == "left 2"
