"""That everybody can use the page: what axe-core finds wrong in each tab, in the light and in the dark."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.server import CAT, OTHER_CAT, Server
from tests.visitor import Visitor

Visit = Callable[..., Visitor]  # its address and screen -> someone in front of a page
WRONG = ("serious", "critical")


@pytest.mark.parametrize("width", [1280, 390], ids=["wide", "phone"])
def test_nothing_is_seriously_wrong(visit: Visit, server: Server, width: int):
    server.be_fast()
    someone = visit(server.url, width=width)
    someone.type("cat")
    someone.expect_table(CAT, OTHER_CAT)
    wrong = []
    for theme in someone.themes():
        for tab in someone.find("#tabs [role=tab]").all_inner_texts():
            someone.open_tab(tab)
            someone.page.wait_for_timeout(500)
            for violation in Axe().run(someone.page).response["violations"]:
                if violation["impact"] in WRONG:
                    places = [" ".join(map(str, node["target"])) for node in violation["nodes"]]
                    wrong.append((theme, tab, violation["id"], violation["help"], places[:5]))
    assert wrong == []
