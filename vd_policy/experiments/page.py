"""A self-contained HTML page of tables, plots, pictures and clips: one file that opens anywhere, offline."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from vd_policy.base import files


class Page:
    """Collects the parts of a report in order; `write` renders them into one HTML file."""

    def __init__(self, title: str, lead: str) -> None:
        self.title, self.lead = title, lead
        self._parts: list[dict[str, Any]] = []

    def heading(self, text: str) -> None:
        self._parts.append({"kind": "heading", "text": text})

    def text(self, text: str) -> None:
        self._parts.append({"kind": "text", "text": text})

    def verdict(self, text: str, good: bool) -> None:
        """A sentence that stands out: what was claimed and whether it held."""
        self._parts.append({"kind": "verdict", "text": text, "good": good})

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._parts.append({"kind": "table", "columns": list(columns), "rows": [list(row) for row in rows]})

    def picture(self, image: np.ndarray, caption: str) -> None:
        """A camera picture, u8 (H, W, 3), shown without smoothing so that its real resolution is seen."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG")
        self._image(buffer.getvalue(), caption, "pixels")

    def figure(self, figure: Any, caption: str) -> None:
        """A matplotlib figure."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight")
        self._image(buffer.getvalue(), caption, "plot")

    def video(self, path: Path, caption: str) -> None:
        """An MP4 file, embedded."""
        data = base64.b64encode(Path(path).read_bytes()).decode()
        self._parts.append({"kind": "video", "data": data, "caption": caption})

    def write(self, path: Path) -> None:
        """Render the page; the file appears whole or not at all."""
        loader = jinja2.FileSystemLoader(Path(__file__).parent)
        template = jinja2.Environment(loader=loader, autoescape=True).get_template("page.html.j2")
        html = template.render(title=self.title, lead=self.lead, parts=self._parts)
        files.write_bytes(Path(path), html.encode())

    def _image(self, png: bytes, caption: str, style: str) -> None:
        data = base64.b64encode(png).decode()
        self._parts.append({"kind": "image", "data": data, "caption": caption, "style": style})
