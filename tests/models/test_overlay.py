"""What is drawn over an image: heat where the model looked, a line around the lungs, and words below."""

import cv2
import numpy as np
import pytest

from models.overlay import LINE_HEIGHT, LONG_EDGE, MARGIN, OUTLINE, encode_png, overlay

GREY = np.full((64, 32), 100, np.uint8)
"""Twice as high as wide: a pixel is 16 of the picture."""


@pytest.mark.parametrize(("rows", "columns"), [(64, 32), (30, 90), (2048, 1536), (1, 2000)])
@pytest.mark.parametrize("lines", [0, 2])
def test_the_long_edge_is_given_and_the_caption_comes_below(rows: int, columns: int, lines: int) -> None:
    picture = overlay(np.full((rows, columns), 100, np.uint8), None, ["word"] * lines)
    height, width = picture.shape[0] - LINE_HEIGHT * lines - 2 * MARGIN, picture.shape[1]
    assert max(height, width) == LONG_EDGE
    assert height / width == pytest.approx(max(rows / columns, 1 / LONG_EDGE), rel=0.01)
    assert (picture[:height] == 100).all()
    assert bool(picture[height:].any()) == (lines > 0)


def test_heat_colours_only_where_it_is() -> None:
    heat = np.zeros(GREY.shape, np.float32)
    heat[8:24, 8:24] = 1.0
    picture = overlay(GREY, heat, ())
    hot, cold = picture[14 * 16 : 18 * 16, 14 * 16 : 18 * 16], picture[40 * 16 : 60 * 16]
    assert (cold == 100).all()
    assert (hot.max(axis=2).astype(int) - hot.min(axis=2) > 20).all(), "coloured"
    whole = overlay(GREY, np.ones_like(heat), ())
    beyond = overlay(GREY, np.full_like(heat, 7.0), ())
    np.testing.assert_array_equal(beyond, whole, "what exceeds 1 is 1")


def test_lungs_are_outlined_where_they_are_more_likely_than_not() -> None:
    lungs = np.full(GREY.shape, 0.49, np.float32)
    np.testing.assert_array_equal(overlay(GREY, None, (), lungs), overlay(GREY, None, ()))
    lungs[16:48, 8:24] = 1.0
    picture = overlay(GREY, None, (), lungs)[:LONG_EDGE]
    drawn = (picture != 100).any(axis=2)
    np.testing.assert_allclose(picture[drawn].astype(int).max(axis=0), OUTLINE, atol=12)  # its edge is smoothed
    rows, columns = np.nonzero(drawn)
    edges = (rows.min(), rows.max(), columns.min(), columns.max())
    np.testing.assert_allclose(edges, (16 * 16, 48 * 16, 8 * 16, 24 * 16), atol=16)
    assert not drawn[24 * 16 : 40 * 16, 12 * 16 : 20 * 16].any(), "a line, no area"


def test_a_long_line_is_made_to_fit() -> None:
    picture = overlay(np.full((1024, 300), 100, np.uint8), None, ["a very long caption " * 8])
    strip = picture[LONG_EDGE:]
    assert strip.any()
    assert not strip[:, -MARGIN // 2 :].any()


def test_a_png_is_the_picture() -> None:
    picture = overlay(GREY, None, ["word"])
    decoded = cv2.imdecode(np.frombuffer(encode_png(picture), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded, picture)
