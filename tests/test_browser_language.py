"""The page in the language of a real browser, see `test_browser`."""

# ruff: noqa: RUF001  # Chinese punctuation

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.server import CAT, OTHER_CAT, PIZZA, Server
from tests.visitor import Visitor

Visit = Callable[..., Visitor]
# What stays as it is in Chinese: names, and what this test's own models say of themselves.
NAMES = "|".join(
    (
        *("Grounding DINO", "Gradio", "API", "JSON", "COCO", "YOLO", "MP4", "MOT", "YouTube-VIS", "MOV", "WebM", "MKV"),
        *("AVI", "GIF", "Esc", "Ctrl", "Stable Diffusion", "LCM", "DDIM", "DPM-Solver", "UniPC", "Euler( ancestral)?"),
        *("Oracle", "Large", "Scissors", "Dauber", "Roller", "cat", "pizza", "car", "first", "second"),
        *("Knows the answers.", "Knows more.", "Cuts out what it is shown.", "Fills with colours."),
    )
)
# All that can be read or heard of the page, but for what stands in fields and what the visitor typed.
READ = """() => {
  const texts = [], left = "script, style, textarea, [translate=no]";
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) if (!walker.currentNode.parentElement.closest(left)) texts.push(walker.currentNode.data);
  for (const name of ["title", "aria-label", "placeholder", "alt"])
    for (const element of document.querySelectorAll(`[${name}]`))
      if (!element.closest("[translate=no]")) texts.push(element.getAttribute(name));
  return texts.map((text) => text.trim());
}"""
# Sentences that are made of several, or filled in.
COMPOSED = {
    "3 objects, 1 hidden. The model reads English only and cannot read “魑”, “魅” and 2 more: boxes found for that are "
    "guesses.": "3 个物体，其中 1 个已隐藏。模型只懂英文，读不懂“魑”, “魅”等，另有 2 个：为它找到的边界框只是猜测。",
    "2 objects in a draft of 400 pixels, the whole picture follows …": "400 像素的草稿中有2 个物体，接着检测整张图片…",
    "text 12 ms · picture cached · grounding 0.4 s · Large": "文本 12 ms · 图片已缓存 · 检测 0.4 s · Large",
    "What you drew: less than 1% of the picture will change.": "你画的部分：图片的 不到 1% 将被改变。",
    "This detector knows drawings. Is this a photograph?": "此检测模型认识的是图画。这是一张照片吗？",
    "Photos at 512 pixels. The smallest of the published ones; wants a GPU. Licence: Apache-2.0.": "512 像素的照片。"
    "已发布模型中最小的；最好有 GPU。许可：Apache-2.0。",
    "There is no drawing of '猫 dog': the nearest there are 'dog' or 'fog'.": "没有“猫 dog”的图画：最接近的有 "
    "'dog' or 'fog'。",
    "12 things were followed. The video is damaged: what could not be read is left out.": "跟踪了 12 个物体。"
    "视频已损坏：无法读取的部分被略去。",
    "'a.mov' is too long: it lasts 400 seconds, and at most 120 are read; cut it first.": "'a.mov' 太长：时长 400 秒，"
    "最多读取 120 秒；请先剪短。",
    "Comes with the program. Small: in photos it finds three of four animals, half of the people. "
    "It knows: person, dog.": ("随程序附带。体积小：在照片中约能找到四分之三的动物和一半的人。它认识：person, dog。"),
    "This detector knows person, dog and 4 more names, and misses some.": (
        "此检测模型认识的是person, dog等，另有 4 个名称，也会有遗漏。"
    ),
    "Large: 1 MB of 2 MB": "Large：1 MB/2 MB",
    "Small: nobody knows half of it": "Small: nobody knows half of it",
    "3 objects. Nobody ever said this.": "3 个物体。 Nobody ever said this.",
    "Nobody ever said this.": "Nobody ever said this.",
}


def chinese_of(page: Page, texts: list[str]) -> list[str]:
    """What the page makes of texts that come into it."""
    return page.evaluate(
        """async (texts) => {
          const parts = texts.map((text) => Object.assign(document.createElement("p"), {textContent: text}));
          document.body.append(...parts);
          await new Promise(requestAnimationFrame);
          return parts.map((part) => (part.remove(), part.textContent));
        }""",
        texts,
    )


def english_left(page: Page) -> list[str]:
    """Texts with English words in them."""
    return sorted({text for text in page.evaluate(READ) if re.search("[A-Za-z]{3}", re.sub(NAMES, "", text))})


def test_a_chinese_browser_has_a_page_without_an_english_word(visit: Visit, server: Server):
    server.be_fast()
    visitor = visit(server.url, locale="zh-CN", keeps_prompt=True)
    page = visitor.page
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(visitor.find("#prompt textarea")).to_have_attribute("placeholder", "猫 . 披萨")
    expect(visitor.find("#result th").first).to_have_text("显示")
    visitor.type("猫和狗")
    visitor.expect_table(("猫", *CAT[1:]), ("狗", 0.8, (20, 130, 90, 230)), ("猫", *OTHER_CAT[1:]))
    expect(visitor.message).to_have_text("3 个物体")
    expect(visitor.chips).to_have_text(["猫2", "狗1"])
    for tab in ("检测", "分割", "重绘", "跟踪"):
        visitor.open_tab(tab)
        assert english_left(page) == []

    visitor.open_tab("重绘")
    visitor.find("#download-result").click()  # a notice
    expect(visitor.find(".toast-body")).to_contain_text("请先运行一次编辑：目前没有可下载的内容。")
    visitor.open_tab("检测")
    visitor.type("魑" * 3)
    expect(visitor.message).to_have_text("没有找到，请换一个词。")
    visitor.prompt.fill("x" * 501)  # an error
    expect(visitor.message).to_contain_text("有 501 个字符，而一个短语最多 500 个：请缩短，或用句号把各部分分开。")
    # What the visitor names is nobody's word but his own.
    visitor.prompt.fill("Masks . 狗")
    expect(visitor.chips).to_have_text(["masks0", "狗1"])
    expect(visitor.prompt).to_have_value("Masks . 狗")

    assert chinese_of(page, [*COMPOSED]) == [*COMPOSED.values()]
    # Who chooses English in Gradio's settings, which change this attribute, has it again, without a reload.
    page.evaluate("document.documentElement.lang = 'en'")
    expect(visitor.message).to_have_text("1 object")
    expect(visitor.find("#result th").first).to_have_text("Show")


def test_an_english_browser_has_a_page_without_a_chinese_character(visitor: Visitor):
    assert visitor.page.locator("html").get_attribute("lang") == "en"
    visitor.type("cat . pizza")
    visitor.set_threshold(0.2)
    visitor.expect_table(CAT, OTHER_CAT, PIZZA)
    for tab in ("Segment", "Inpaint", "Track", "Detect"):
        visitor.open_tab(tab)
        assert [text for text in visitor.page.evaluate(READ) if re.search("[\u3000-\u9fff\uff00-\uffef]", text)] == []
