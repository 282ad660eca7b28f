"""Makes the README's picture of the page: `python -m tests.screenshot assets/screenshot.webp`.

It starts the page as a user does, chooses an example, a photograph by default, opens a tab, types the phrases key by
key and saves what the browser shows.
"""

import argparse
import io
import json
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import expect, sync_playwright

from tests.visitor import BROWSERS, FLAGS, ROOT, Visitor, find_browser, running_page


def main() -> int:
    """Writes the picture; 2 after one line on stderr if there is no browser."""
    parser = argparse.ArgumentParser(description="Save a picture of the page with boxes on it.")
    parser.add_argument("output", type=Path, help="a .webp or .png file")
    parser.add_argument("--example", default="astronaut.webp", help="file of an example (%(default)s)")
    parser.add_argument("--tab", choices=("Detect", "Segment"), default="Detect")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    options = parser.parse_args()
    path = find_browser()
    if path is None:
        print(f"screenshot.py: no browser: none of {', '.join(BROWSERS)} is installed.", file=sys.stderr)
        return 2
    examples = json.loads((ROOT / "assets" / "examples" / "examples.json").read_text())
    prompts = {entry["file"]: entry["prompt"] for entry in examples}
    if options.example not in prompts:
        parser.error(f"there is no example '{options.example}': expected one of {', '.join(prompts)}.")
    phrases = prompts[options.example].split(" . ")
    with TemporaryDirectory() as folder, running_page(Path(folder) / "log") as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        visitor = Visitor(browser, f"{url}?__theme={options.theme}", device_scale_factor=2)
        visitor.find("#gallery .gallery-item").nth([*prompts].index(options.example)).click()
        expect(visitor.prompt).to_have_value(prompts[options.example])
        visitor.open_tab(options.tab)
        visitor.type(" . ".join(phrases))
        expect(visitor.chips).to_have_text([re.compile(rf"{phrase}[1-9]") for phrase in phrases])
        picture = visitor.page.screenshot()
        browser.close()
    Image.open(io.BytesIO(picture)).convert("RGB").save(options.output, quality=85)
    return 0


if __name__ == "__main__":
    sys.exit(main())
