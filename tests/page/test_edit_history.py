"""Going back and forth between pictures made from each other."""

from groundingdino.page.edit_history import History


def test_a_new_history_leads_nowhere():
    history = History()
    assert history.view() == {"picture": "", "undo": False, "redo": False}
    assert history.move("a", -1) is None
    assert history.move("", 1) is None


def test_pictures_are_gone_through_in_order():
    history = History()
    history.add("a", "b")
    history.add("b", "c")
    assert history.view() == {"picture": "c", "undo": True, "redo": False}
    assert history.move("c", 1) is None
    assert history.move("c", -1) == "b"
    assert history.view() == {"picture": "b", "undo": True, "redo": True}
    assert history.move("b", -1) == "a"
    assert history.move("a", -1) is None
    assert history.move("a", 1) == "b"


def test_what_was_undone_is_forgotten_by_the_next_edit():
    history = History()
    history.add("a", "b")
    history.move("b", -1)
    history.add("a", "c")
    assert history.move("c", -1) == "a"
    assert history.move("a", 1) == "c"


def test_another_picture_leaves_the_history_and_begins_its_own():
    history = History()
    history.add("a", "b")
    assert history.move("x", -1) is None
    history.add("x", "y")
    assert history.move("y", -1) == "x"
    assert history.move("x", -1) is None
