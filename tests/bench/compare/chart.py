# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of the ratios to plain: a panel for each figure, a bar for each subject. Only text."""

import html

COLOURS = {"culvert": "#0b6e4f", "optimistic": "#3fa67f", "haproxy": "#7a8794", "nginx": "#98a3ad", "stunnel": "#b4bcc4", "wireguard-go": "#c9d0d6"}
OTHER_COLOUR = "#7a8794"
WIDTH, LABEL_WIDTH, BAR_HEIGHT, GAP, MARGIN, TEXT_WIDTH = 860, 150, 16, 34, 16, 70
FONT = 'font-family="sans-serif" font-size="12" fill="#222"'


def bars(ratios, subjects, is_higher_better):
    """(name, ratio, how long its bar is, 0 to 1). The longest is 1, plain's included; where lower is better and somebody is far off, others still can be told apart,
    since bars are cut at eight times plain's."""
    most = min(max([1.0, *ratios.values()]), 1.5 if is_higher_better else 8.0)
    return [(name, ratios[name], min(ratios[name] / most, 1.0)) for name in subjects if name in ratios], 1.0 / most


def chart(ratios, figures, subjects):
    """SVG; ratios: {key: {subject: ratio}}, subjects: {name: title}."""
    lines, y = [], MARGIN + 12
    room = WIDTH - LABEL_WIDTH - TEXT_WIDTH - 2 * MARGIN
    for figure in figures:
        if not ratios.get(figure.key):
            continue
        drawn, plain = bars(ratios[figure.key], subjects, figure.is_higher_better)
        lines.append(f'<text x="{MARGIN}" y="{y}" {FONT} font-weight="bold">{html.escape(figure.title)}'
                     f'<tspan dx="5" font-weight="normal" fill="#666">({"longer" if figure.is_higher_better else "shorter"} is better; the line is plain)</tspan></text>')
        top = y + 8
        for index, (name, ratio, length) in enumerate(drawn):
            at = top + index * (BAR_HEIGHT + 3)
            left = MARGIN + LABEL_WIDTH
            lines.append(f'<text x="{left - 8}" y="{at + 12}" {FONT} text-anchor="end">{html.escape(subjects[name])}</text>')
            lines.append(f'<rect x="{left}" y="{at}" width="{max(room * length, 1):.1f}" height="{BAR_HEIGHT}" fill="{COLOURS.get(name, OTHER_COLOUR)}"/>')
            lines.append(f'<text x="{left + room * length + 6:.1f}" y="{at + 12}" {FONT}>{ratio:.2f}x</text>')
        bottom = top + len(drawn) * (BAR_HEIGHT + 3)
        x = MARGIN + LABEL_WIDTH + room * plain
        lines.append(f'<line x1="{x:.1f}" y1="{top - 2}" x2="{x:.1f}" y2="{bottom}" stroke="#b3261e" stroke-width="1.5"/>')
        y = bottom + GAP
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}">\n<rect width="100%" height="100%" fill="#fff"/>\n'
            + "\n".join(lines) + "\n</svg>\n")
