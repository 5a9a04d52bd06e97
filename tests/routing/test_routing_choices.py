from mixchat.routing.choices import Choice, Choices


def test_each_token_gets_its_row_and_position() -> None:
    choices = Choices(3, 10, 2, (4, 1, 0, 7), (0.75, 0.25, 0.5, 0.5))
    assert choices.count == 2
    assert list(choices.each()) == [Choice(3, 10, (4, 1), (0.75, 0.25)), Choice(3, 11, (0, 7), (0.5, 0.5))]
