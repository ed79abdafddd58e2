"""How the pages look: Gradio's base theme with colours that keep 4.5:1 on every surface, and our own
stylesheet.

Fonts are the system's: Gradio's default theme would fetch its fonts from another host.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

ICONS = {
    "ask": "M3 4h14v9H9l-4 3v-3H3z",
    "search": "M8.5 3a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM13 13l4 4",
    "projects": "M2.5 5h5l2 2h8v8.5h-15z",
    "models": "M10 2.5l6.5 3.7v7.6L10 17.5l-6.5-3.7V6.2zM3.5 6.2L10 10l6.5-3.8M10 10v7.5",
    "health": "M2.5 10h4l2-5 3.5 10 2-5h3.5",
    "backups": "M3 4h14v4H3zM4 8v8h12V8M8 11h4",
    "activity": "M4 16V9M10 16V4M16 16v-5",
    "settings": "M3 6h8M15 6h2M13 4v4M3 14h2M9 14h8M7 12v4",
}
"""The navigation's icons: paths of strokes in a box of 20 by 20."""
STATIC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "static")
SCRIPTS = ("stream.js", "pages.js", "page.js", "panels.js", "ask.js", "model.js")
FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")


def theme() -> Any:
    """The theme for mount_gradio_app. The default one fails WCAG AA (primary button 2.8:1, links 1.9:1)."""
    import gradio as gr

    base = gr.themes.Base(
        primary_hue="emerald",
        secondary_hue="emerald",
        neutral_hue="slate",
        radius_size="md",
        text_size="md",
        font=FONT,
        font_mono=MONO,
    )
    return base.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_900",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        background_fill_primary="white",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary="*neutral_100",
        background_fill_secondary_dark="*neutral_800",
        border_color_primary="*neutral_300",
        border_color_primary_dark="*neutral_700",
        block_border_width="1px",
        block_shadow="none",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_hover_dark="*neutral_700",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_600",
        button_secondary_text_color="*neutral_800",
        button_secondary_text_color_dark="*neutral_100",
        input_background_fill="white",
        input_background_fill_dark="*neutral_800",
        input_border_color="*neutral_500",
        input_border_color_dark="*neutral_500",
        input_border_color_focus="*primary_600",
        input_border_color_focus_dark="*primary_400",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
        link_text_color_hover="*primary_800",
        link_text_color_hover_dark="*primary_200",
        link_text_color_visited="*primary_700",
        link_text_color_visited_dark="*primary_300",
        color_accent_soft="*primary_50",
        color_accent_soft_dark="*neutral_800",
        border_color_accent_subdued="*primary_200",
        border_color_accent_subdued_dark="*neutral_700",
    )


@cache
def static_text(name: str) -> str:
    with open(os.path.join(STATIC, name), encoding="utf-8") as handle:
        return handle.read()


def head(pages: Sequence[tuple[str, str]] = ()) -> str:
    """Goes into every page's <head>: the scripts that Gradio has no event for, and no referrer to anybody.

    `pages` are path and name of the pages after Ask, for the navigation.
    """
    listed = [{"path": "", "name": "Ask", "icon": ICONS["ask"]}]
    listed += [{"path": f"/{path}", "name": name, "icon": ICONS[path]} for path, name in pages]
    return (
        '<meta name="referrer" content="no-referrer">'
        # Not among Gradio's css, which it confines to its own container; the navigation lies outside.
        f"<style>{static_text('pages.css')}</style><style>{static_text('ask.css')}</style>"
        f"<script>window.gardenerPages = {json.dumps(listed)};</script>"
        + "".join(f"<script>{static_text(name)}</script>" for name in SCRIPTS)
    )
