"""Mouth crops stay still while the head moves, and say where there was no face."""

import numpy as np
import pytest

from signbind_jax.data_pipelines.extraction.worker import mouth, serve
from tests import drawn_faces

FPS = 25.0
PLAIN = ()  # a face without dots, which would show where the landmarks are


def mesh(centre, eyes_apart: float, angle: float = 0.0) -> np.ndarray:
    """(468, 3) vertices of a drawn face: the two eyes and the mouth's corners."""
    axis = np.array([np.cos(angle), np.sin(angle)])
    down = np.array([-axis[1], axis[0]])
    face_vc = np.zeros((468, 3), np.float32)
    face_vc[:, 2] = 1
    for vertex, (u, v) in zip((33, 263, *mouth.MOUTH_CORNERS), drawn_faces.DOTS.values()):
        face_vc[vertex, :2] = np.array(centre) + eyes_apart * (u * axis + v * down)
    return face_vc


def cut_all(heads, size=(320, 240)) -> tuple[np.ndarray, np.ndarray]:
    """Crops of heads (centre, eyes_apart, angle) that are drawn and whose landmarks are known."""
    face_tvc = np.stack([mesh(*head) for head in heads])
    transform_t23, state_t = mouth.transforms(face_tvc, FPS)
    crops = []
    for (centre, eyes_apart, angle), transform_23 in zip(heads, transform_t23):
        picture = drawn_faces.face(eyes_apart, centre, angle, size, PLAIN)
        crops.append(mouth.cut(picture[..., 0], transform_23))
    return np.stack(crops), state_t


def test_the_crop_stays_the_same_while_the_head_moves_turns_and_comes_nearer():
    t = np.arange(50) / FPS
    heads = [
        (
            (150 + 25 * np.sin(2 * s), 90 + 15 * np.sin(3 * s)),
            60 + 5 * np.sin(s),
            0.3 * np.sin(2 * s),
        )
        for s in t
    ]
    crops_thw, state_t = cut_all(heads)
    assert (state_t == mouth.FOUND).all()
    still_hw = crops_thw.mean(0)
    assert np.abs(crops_thw - still_hw).mean() < 2.5
    assert still_hw.std() > 25  # the face's pattern, not a grey field


def test_the_mouth_has_its_place_and_size_in_the_crop():
    face_vc = mesh((100, 60), 50.0, 0.4)
    transform_t23, _ = mouth.transforms(face_vc[None], FPS)
    linear_22, offset_2 = transform_t23[0, :, :2], transform_t23[0, :, 2]
    points_n2 = face_vc[[33, 263, *mouth.MOUTH_CORNERS], :2] - offset_2
    eye_r, eye_l, corner_r, corner_l = (np.linalg.inv(linear_22) @ points_n2.T).T
    assert np.allclose((corner_r + corner_l) / 2, mouth.CORNERS_AT, atol=1e-3)
    assert np.allclose(eye_l - eye_r, (mouth.EYES_APART, 0), atol=1e-3)
    assert corner_l[0] > corner_r[0]  # upright, not mirrored
    assert corner_l[1] > eye_l[1]


def test_trembling_landmarks_hardly_move_the_crop():
    rng = np.random.default_rng(0)
    face_tvc = np.stack([mesh((100, 60), 60.0)] * 100)
    face_tvc[..., :2] += rng.normal(0, 1, face_tvc[..., :2].shape)
    transform_t23, _ = mouth.transforms(face_tvc, FPS)
    middle_t2 = transform_t23 @ (*mouth.CORNERS_AT, 1.0)
    raw_t2 = face_tvc[:, mouth.MOUTH_CORNERS, :2].mean(1)
    assert middle_t2.std(0).max() < 0.6 * raw_t2.std(0).min()
    sizes_t = np.hypot(transform_t23[:, 0, 0], transform_t23[:, 1, 0])
    assert sizes_t.std() / sizes_t.mean() < 0.01


def moving(missing: slice | list, n: int = 60) -> np.ndarray:
    face_tvc = np.stack([mesh((100 + t, 60), 60.0) for t in range(n)])
    face_tvc[missing] = 0
    return face_tvc


def test_a_face_that_is_lost_for_a_moment_is_placed_between():
    transform_t23, state_t = mouth.transforms(moving(slice(20, 28)), FPS)
    assert (state_t[20:28] == mouth.INTERPOLATED).all()
    assert (np.delete(state_t, range(20, 28)) == mouth.FOUND).all()
    middle_t2 = transform_t23 @ (*mouth.CORNERS_AT, 1.0)
    assert np.allclose(middle_t2[:, 0], 100 + np.arange(60), atol=0.01)  # at the ends, too


def test_a_face_that_is_lost_for_long_has_no_place():
    transform_t23, state_t = mouth.transforms(moving(slice(20, 35)), FPS)
    assert (state_t[20:35] == mouth.NO_FACE).all() and (transform_t23[20:35] == 0).all()
    assert (state_t[:20] == mouth.FOUND).all() and (state_t[35:] == mouth.FOUND).all()
    # What lies behind the gap is not mixed with what lies before it.
    middle_t2 = transform_t23 @ (*mouth.CORNERS_AT, 1.0)
    wanted_t = 100 + np.arange(60)
    assert np.allclose(middle_t2[:20, 0], wanted_t[:20], atol=0.01)
    assert np.allclose(middle_t2[35:, 0], wanted_t[35:], atol=0.01)


@pytest.mark.parametrize("missing", [slice(0, 8), slice(52, 60)])
def test_the_face_may_come_late_or_leave_early(missing):
    transform_t23, state_t = mouth.transforms(moving(missing), FPS)
    assert (state_t[missing] == mouth.INTERPOLATED).all()
    middle_t = (transform_t23 @ (*mouth.CORNERS_AT, 1.0))[missing, 0]
    assert np.ptp(middle_t) < 4  # stays where the face was seen last


def test_without_a_face_there_are_no_crops():
    transform_t23, state_t = mouth.transforms(np.zeros((5, 468, 3), np.float32), FPS)
    assert (state_t == mouth.NO_FACE).all() and (transform_t23 == 0).all()
    crops_thw = mouth.fill_missing(np.zeros((5, 96, 96), np.uint8), state_t)
    assert crops_thw.shape == (0, 96, 96)
    # A clip of one frame, too.
    assert mouth.transforms(np.zeros((1, 468, 3), np.float32), FPS)[1] == [mouth.NO_FACE]


def test_frames_without_a_face_show_the_mean_of_the_others():
    crops_thw = np.stack([np.full((96, 96), level, np.uint8) for level in (10, 200, 30, 0)])
    state_t = np.array([mouth.FOUND, mouth.NO_FACE, mouth.INTERPOLATED, mouth.NO_FACE], np.uint8)
    filled_thw = mouth.fill_missing(crops_thw, state_t)
    assert [int(crop_hw[0, 0]) for crop_hw in filled_thw] == [10, 20, 30, 20]


def test_fine_patterns_of_a_large_picture_become_grey():
    fine_hw = (255 * (np.indices((1000, 1000)).sum(0) % 2)).astype(np.uint8)
    transform_23 = np.array([[6.0, 0, 100.3], [0, 6.0, 100.3]])
    crop_hw = mouth.cut(fine_hw, transform_23)
    assert np.abs(crop_hw.astype(int) - 127).max() <= 8


def test_beyond_the_picture_its_edge_goes_on():
    picture_hw = np.zeros((50, 50), np.uint8)
    picture_hw[:, -1] = 200
    crop_hw = mouth.cut(picture_hw, np.array([[1.0, 0, 20], [0, 1.0, -30]]))
    assert (crop_hw[:, 40:] == 200).all() and (crop_hw[:, :28] == 0).all()


def test_a_face_mesh_away_from_the_bodys_mouth_is_forgotten():
    points_tnc = np.zeros((3, 543, 3), np.float32)
    points_tnc[..., 2] = 1
    points_tnc[:, [33 + serve.FOREHEAD, 33 + serve.CHIN], 1] = [[50, 150]] * 3  # 100 high
    points_tnc[:, 33 + np.array(mouth.MOUTH_CORNERS), :2] = [[90, 120], [110, 120]]
    points_tnc[0, serve.BODY_MOUTH, :2] = [[95, 125], [115, 125]]
    points_tnc[1, serve.BODY_MOUTH, :2] = [[195, 125], [215, 125]]  # the mesh is on a hand
    points_tnc[2, serve.BODY_MOUTH, 2] = 0  # no body to compare with
    assert serve.forget_wrong_faces(points_tnc) == 1
    assert (points_tnc[:, serve.FACE, 2] > 0).all(1).tolist() == [True, False, True]
    assert (points_tnc[1, serve.FACE] == 0).all() and (points_tnc[1, serve.BODY, 2] == 1).all()
