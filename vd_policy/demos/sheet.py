"""A contact sheet: what the camera saw in each episode, to look at."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vd_policy.base.files import write_bytes
from vd_policy.demos.foreign import ForeignMap, find_map, read_bag
from vd_policy.demos.reader import UnusableEpisode
from vd_policy.demos.storage import bag_paths

COLUMNS = 8
MAX_ROWS = 40
TEXT_HEIGHT = 14


def contact_sheet(directory: str | Path, file: str | Path) -> int:
    """Write a PNG with a row of up to 8 pictures for each of up to 40 episodes, spread evenly; returns the rows."""
    bags, mapping = bag_paths(Path(directory)), find_map(Path(directory))
    chosen = [bags[i] for i in np.unique(np.linspace(0, len(bags) - 1, min(len(bags), MAX_ROWS)).astype(int))]
    rows = [row for bag in chosen if (row := _row(bag, mapping)) is not None]
    width = max((row.width for row in rows), default=1)
    sheet = Image.new("RGB", (width, max(sum(row.height for row in rows), 1)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    buffer = BytesIO()
    sheet.save(buffer, "PNG")
    write_bytes(Path(file), buffer.getvalue())
    return len(rows)


def _row(bag: Path, mapping: ForeignMap | None) -> Image.Image | None:
    """Pictures of one episode under its name and outcome, or None when it has none."""
    try:
        recording = read_bag(bag, mapping)
    except UnusableEpisode:
        return None
    stamps = sorted(recording.rgb)
    if not stamps:
        return None
    shown = [stamps[i] for i in np.unique(np.linspace(0, len(stamps) - 1, COLUMNS).astype(int))]
    height, width = recording.rgb[shown[0]].shape[:2]
    row = Image.new("RGB", (COLUMNS * width, height + TEXT_HEIGHT), "white")
    last = recording.outcome[max(recording.outcome)] if recording.outcome else None
    text = f"{bag.name}  {len(stamps)} pictures  {last.reason if last else ''}"
    ImageDraw.Draw(row).text((2, 1), text, fill="black")
    for column, stamp in enumerate(shown):
        row.paste(Image.fromarray(recording.rgb[stamp]), (column * width, TEXT_HEIGHT))
    return row
