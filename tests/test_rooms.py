"""The package's folders are rooms, and no room knows one above it. `python tests/test_rooms.py` draws them."""

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "groundingdino"

# From the ground up; rooms of one floor do not know each other.
FLOORS = (
    ("files", "inputs", "kernels", "runtime"),
    ("artwork", "model"),
    ("detection",),
    ("segmentation",),
    ("editing",),
    ("results",),
    ("annotations", "tracking"),
    ("evaluation",),
    ("training",),
    ("page",),
    ("command_line",),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def imports(file: Path) -> set[str]:
    """Modules of the package that a file imports anywhere, also when it runs."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name for name in found if name.startswith("groundingdino.")}


def arrows() -> Counter[tuple[str, str]]:
    """How many imports lead from a room to another."""
    counted: Counter[tuple[str, str]] = Counter()
    for file in PACKAGE.glob("*/**/*.py"):
        room = file.relative_to(PACKAGE).parts[0]
        counted.update((room, name.split(".")[1]) for name in imports(file) if name.split(".")[1] != room)
    return counted


def test_every_folder_is_a_room_with_a_floor():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(FLOOR_OF)
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_no_arrow_goes_up():
    up = [f"{room} -> {other}" for room, other in arrows() if FLOOR_OF[room] <= FLOOR_OF[other]]
    assert up == []


def test_no_files_import_each_other():
    modules = {
        ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts): imports(file)
        for file in PACKAGE.rglob("*.py")
        if file.name != "__init__.py"
    }
    known = {
        name: [other for other in modules if any(f"{target}.".startswith(f"{other}.") for target in targets)]
        for name, targets in modules.items()
    }
    TopologicalSorter(known).prepare()  # raises CycleError, which names them


def draw() -> None:
    """Prints the floors from the top, and under each room what it knows."""
    counted = arrows()
    for rooms in reversed(FLOORS):
        for room in rooms:
            files = len(list((PACKAGE / room).rglob("*.py")))
            below = ", ".join(f"{other} {count}" for (one, other), count in sorted(counted.items()) if one == room)
            print(f"{room:<14}{files:>3} files  -> {below or 'nothing'}")
        print("-" * 100)
    print(f"{len(FLOORS)} floors, {len(FLOOR_OF)} rooms, {len(counted)} arrows between them, none up")


if __name__ == "__main__":
    draw()
