import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from graphmod.datasets import load, load_train_and_test


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """test/{cat,dog}/*.png of 6 × 4 pixels; image i has the value 10 i, even ones are cats."""
    for i in range(12):
        file = tmp_path / "test" / ("dog" if i % 2 else "cat") / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 6), (10 * i,) * 3).save(file)
    return tmp_path


def test_digits() -> None:
    test, train = load("digits"), load("digits", split="train")
    assert (len(test), len(train)) == (1000, 797)
    assert not set(test.ids) & set(train.ids)
    assert test.images.shape == (1000, 1, 8, 8)
    assert test.images.min() == 0
    assert test.images.max() == 1
    assert test.labels.bincount().min() >= 95
    image, label = test[3]
    assert torch.equal(image, test.images[3])
    assert label == test.labels[3]
    assert next(iter(DataLoader(test, batch_size=10)))[0].shape == (10, 1, 8, 8)


def test_folder_in_file_order(folder: Path) -> None:
    samples = load(f"folder:{folder}")
    assert samples.ids[:3] == ["cat/0.png", "dog/1.png", "cat/2.png"]
    assert samples.ids[-1] == "dog/11.png"  # numbers are sorted as numbers
    assert samples.classes == ["cat", "dog"]
    assert samples.labels.tolist() == [0, 1] * 6
    torch.testing.assert_close(samples.images[:, 0, 0, 0], torch.arange(12) * 10 / 255)
    assert samples.images.shape == (12, 3, 6, 4)
    assert load(f"folder:{folder}/test").ids == samples.ids


def test_num_samples_and_order(folder: Path) -> None:
    assert load(f"folder:{folder}", num_samples=3).ids == ["cat/0.png", "dog/1.png", "cat/2.png"]
    drawn = [load(f"folder:{folder}", num_samples=6, order="stratified", seed=seed) for seed in (0, 0, 1)]
    assert drawn[0].ids == drawn[1].ids != drawn[2].ids
    assert drawn[0].labels.sum() == 3
    assert (folder / "test/cat/8.png").write_text("broken")
    load(f"folder:{folder}", num_samples=8)  # what is not asked for is not decoded


def test_any_mode_and_size(folder: Path) -> None:
    Image.new("L", (9, 7), 128).save(folder / "test/cat/0.png")
    Image.new("RGBA", (5, 30)).save(folder / "test/dog/1.png")
    (folder / "test/cat/._0.png").write_text("not an image but what a file system left")
    (folder / "test/cat/notes.txt").write_text("nor this")
    with pytest.raises(
        ValueError, match=r"one size; cat/0.png is \[3, 7, 9\], dog/1.png is \[3, 30, 5\]: pass image_size"
    ):
        load(f"folder:{folder}")
    assert load(f"folder:{folder}", image_size=5).images.shape == (12, 3, 5, 5)


def test_images_of_sixteen_bits(folder: Path) -> None:
    """Grey levels of 65,535, in every format that has them; the same in each of three channels."""
    levels = np.array([[0, 257], [30000, 65535]], dtype=np.uint16)
    for old in (folder / "test").glob("*/*.png"):
        old.unlink()
    for i, kind in enumerate(("png", "tiff", "jp2")):
        Image.fromarray(levels).save(folder / "test" / ("dog" if i % 2 else "cat") / f"{i}.{kind}")
    (folder / "test/cat/3.pgm").write_bytes(b"P5 2 2 65535\n" + levels.astype(">u2").tobytes())
    images = load(f"folder:{folder}").images
    assert images.shape == (4, 3, 2, 2)
    torch.testing.assert_close(images, torch.from_numpy(levels / 65535).float().expand(4, 3, -1, -1))
    for kind in (np.int32, np.float32):
        Image.fromarray(levels.astype(kind)).save(folder / "test/cat/4.tiff")
        with pytest.raises(ValueError, match="4.tiff is not an image that can be read.*its pixels have 32 bits, and"):
            load(f"folder:{folder}")


def test_wrong_folders(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder /nowhere"):
        load("folder:/nowhere")
    with pytest.raises(ValueError, match="holds no class folders; expected"):
        load(f"folder:{folder}/test/cat")
    with pytest.raises(ValueError, match="holds no images; it holds the folders cat, dog: is test a split?"):
        load(f"folder:{folder}", split="train")
    with pytest.raises(ValueError, match="13 samples were asked for, there are 12"):
        load(f"folder:{folder}", num_samples=13)
    (folder / "test/cat/4.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(ValueError, match="cat/4.png is not an image that can be read"):
        load(f"folder:{folder}")
    (folder / "test/cat/4.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 6\nshowpage\n")
    with pytest.raises(ValueError, match="cat/4.png is not an image that can be read"):
        load(f"folder:{folder}")
    (folder / "test/eel").mkdir()
    with pytest.raises(ValueError, match="class folder .*eel holds no images"):
        load(f"folder:{folder}")


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((6, 3, 5, 4), np.uint8), ((6, 5, 4, 3), np.uint8), ((6, 5, 4), np.uint8), ((6, 1, 5, 4), float)],
)
def test_npz(shape: tuple[int, ...], dtype: type, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, shape)
    images = images.astype(np.uint8) if dtype is np.uint8 else (images / 255).astype(np.float32)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(6) % 2)
    samples = load(f"npz:{tmp_path}/x.npz")
    assert samples.images.shape == (6, 3 if 3 in shape[1:] else 1, 5, 4)
    expected = images.reshape(-1).astype(np.float32) / (255 if dtype is np.uint8 else 1)
    assert samples.images.sum() == pytest.approx(expected.sum(), rel=1e-5)
    assert samples.labels.tolist() == [0, 1] * 3


def test_npz_of_two_splits(tmp_path: Path) -> None:
    pixels, labels = np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2), np.arange(10) % 2
    arrays = {"train_images": pixels[:6], "train_labels": labels[:6], "test_images": pixels[6:]}
    np.savez(tmp_path / "x.npz", **arrays, test_labels=labels[6:])
    train, test = load_train_and_test(f"npz:{tmp_path}/x.npz")
    assert (len(train), len(test)) == (6, 4)
    assert torch.equal(train.images, load(f"npz:{tmp_path}/x.npz", split="train").images)
    torch.testing.assert_close(torch.cat([train.images, test.images])[:, 0], torch.from_numpy(pixels) / 255)
    with pytest.raises(ValueError, match="x.npz must hold the arrays images and labels, or val_images and val_labels"):
        load(f"npz:{tmp_path}/x.npz", split="val")
    np.savez(tmp_path / "half.npz", images=pixels, labels=labels, **{**arrays, "test_labels": labels[6:]})
    assert len(load(f"npz:{tmp_path}/half.npz", split="train")) == 6


def test_one_part_is_not_for_training_and_testing(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.ones((4, 2, 2)), labels=np.arange(4) % 2)
    np.savez(tmp_path / "y.npz", images=np.ones((4, 2, 2)), labels=np.arange(4) % 2,
             train_images=np.ones((4, 2, 2)), train_labels=np.arange(4) % 2)  # fmt: skip
    for name in (f"npz:{tmp_path}/x.npz", f"npz:{tmp_path}/y.npz", f"folder:{folder}/test"):
        with pytest.raises(ValueError, match=f"{name} is one part without the splits train and test; a test on images"):
            load_train_and_test(name)
        assert torch.equal(load(name, split="val").images, load(name).images)  # as one part it is read by all others
    (folder / "test").rename(folder / "train")
    with pytest.raises(ValueError, match="holds the folders cat, dog: is train a split?"):
        load_train_and_test(f"folder:{folder}")
    (folder / "test/cat").mkdir(parents=True)
    (folder / "train/cat/2.png").rename(folder / "test/cat/2.png")
    train, test = load_train_and_test(f"folder:{folder}")
    assert (len(train), test.ids) == (11, ["cat/2.png"])
    (folder / "test/cat").rename(folder / "test/dog")
    with pytest.raises(ValueError, match="the test images of .* must have the classes .*; got dog, … for cat, dog, …"):
        load_train_and_test(f"folder:{folder}")


def test_wrong_npz(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(FileNotFoundError, match="there is no file .*x.npz"):
        load(f"npz:{path}")
    np.savez(path, images=np.array([None, {}]), labels=np.arange(2))
    with pytest.raises(ValueError, match="is not a NumPy archive of plain arrays"):
        load(f"npz:{path}")
    path.write_text("hello")
    with pytest.raises(ValueError, match="is not a NumPy archive of plain arrays"):
        load(f"npz:{path}")
    np.savez(path, x=np.ones(3))
    with pytest.raises(ValueError, match="must hold the arrays images and labels"):
        load(f"npz:{path}")
    np.savez(path, images=np.full((2, 1, 2, 2), 255.0), labels=np.arange(2))
    with pytest.raises(ValueError, match=r"images must be uint8 or in \[0, 1\]; got 255 to 255"):
        load(f"npz:{path}")
    for labels in (np.array(["cat", "dog"]), np.array(1), np.arange(0), np.eye(2)):
        np.savez(path, images=np.ones((2, 1, 2, 2)), labels=labels)
        with pytest.raises(ValueError, match=r"x.npz: labels must be integers \[N\], N at least 1; got"):
            load(f"npz:{path}")
    np.savez(path, images=np.ones((2, 1, 2, 2)), labels=np.arange(3))
    with pytest.raises(ValueError, match=r"images must be \[N, C, H, W\] with one label each"):
        load(f"npz:{path}")


def test_torchvision_through_its_own_loader(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (20, 28, 28)).astype(np.uint8)
    for name, count in (("t10k", 20), ("train", 20)):
        (raw / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">iiii", 2051, count, 28, 28) + pixels.tobytes())
        labels = (np.arange(count) % 10).astype(np.uint8)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 2049, count) + labels.tobytes())
    samples = load("torchvision:MNIST", root=tmp_path, num_samples=12)
    assert samples.images.shape == (12, 1, 28, 28)
    torch.testing.assert_close(samples.images[5, 0], torch.from_numpy(pixels[5]) / 255)
    assert samples.labels.tolist() == [i % 10 for i in range(12)]
    assert samples.classes[2] == "2 - two"
    with pytest.raises(ValueError, match="torchvision:MNIST has the splits train and test; got 'validation'"):
        load("torchvision:MNIST", root=tmp_path, split="validation")
    train, test = load_train_and_test("torchvision:MNIST", root=tmp_path)
    assert len(train) == len(test) == 20


def test_torchvision_sets_that_take_a_split(tmp_path: Path) -> None:
    pets = tmp_path / "oxford-iiit-pet"
    for part in ("images", "annotations"):
        (pets / part).mkdir(parents=True)
    for name in ("cat_1", "dog_1", "cat_2"):
        Image.new("RGB", (4, 6)).save(pets / "images" / f"{name}.jpg")
    (pets / "annotations/test.txt").write_text("cat_1 1 1 1\ndog_1 2 2 1\n")
    (pets / "annotations/trainval.txt").write_text("cat_2 1 1 1\n")
    assert load("torchvision:OxfordIIITPet", root=tmp_path).labels.tolist() == [0, 1]
    assert len(load("torchvision:OxfordIIITPet", root=tmp_path, split="trainval")) == 1
    for name in ("FGVCAircraft", "Country211", "PCAM", "StanfordCars"):
        with pytest.raises(FileNotFoundError, match=f"torchvision:{name} was not found in"):
            load(f"torchvision:{name}", root=tmp_path)
    with pytest.raises(ValueError, match="torchvision:EuroSAT has no train and test split; use folder:PATH"):
        load("torchvision:EuroSAT", root=tmp_path)


def test_torchvision_sets_of_another_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    with pytest.raises(ValueError, match="torchvision:FakeData has no train and test split; use folder:PATH"):
        load("torchvision:FakeData", root=tmp_path)
    monkeypatch.setattr(datasets, "__all__", (*datasets.__all__, "Nameless"))
    monkeypatch.setattr(
        datasets, "Nameless", type("Nameless", (), {"__init__": lambda self, *_, **__: None}), raising=False
    )
    with pytest.raises(
        ValueError, match="torchvision:Nameless does not list its labels; use folder:PATH or pass tensors"
    ):
        load("torchvision:Nameless", root=tmp_path)


def test_unknown_data_sets(tmp_path: Path) -> None:
    for name in ("digit", "folder", "digits:x"):
        with pytest.raises(ValueError, match=f"there is no data set '{name}'; choose digits, folder:PATH"):
            load(name)
    with pytest.raises(ValueError, match="torchvision.datasets has no 'CIFAR11'; the nearest are 'CIFAR10"):
        load("torchvision:CIFAR11")
    with pytest.raises(FileNotFoundError, match="torchvision:CIFAR10 was not found in"):
        load("torchvision:CIFAR10", root=tmp_path)
    for size in (0, -1):
        with pytest.raises(ValueError, match=f"image_size must be at least 1; got {size}"):
            load("digits", num_samples=2, image_size=size)
    with pytest.raises(ValueError, match="digits has the splits train and test; got 'val'"):
        load("digits", split="val")


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        place.mkdir()
    except OSError:
        pytest.skip("this file system takes no such names")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(place / os.fsdecode(b"im\xe9.png"))
    samples = load(f"folder:{tmp_path}")
    assert list(samples.classes) == ["caf\\xe9"]
    assert list(samples.ids) == ["caf\\xe9/im\\xe9.png"]
