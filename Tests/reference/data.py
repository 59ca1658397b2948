"""What torchvision makes of images, scikit-learn of folds, SciPy of sounds and Pillow of files.

Run with torchvision 0.28, scikit-learn 1.9, SciPy 1.17 and Pillow 13 from the project's root:

    python Tests/reference/data.py

It writes Tests/ApusDataTests/Fixtures/augmentation.npz, folds.npz and sounds.npz, and
Tests/ApusImagesTests/Fixtures/images.npz. Files stand in the archives as bytes.
"""

import io
import struct
import wave
import zlib

import numpy as np
import torch
import torchvision.transforms.v2.functional as F
from PIL import Image
from scipy.io import wavfile
from sklearn.model_selection import KFold, StratifiedKFold

DATA = "Tests/ApusDataTests/Fixtures"
IMAGES = "Tests/ApusImagesTests/Fixtures"


def augmentation():
    random = np.random.default_rng(1)
    image = random.random((7, 10, 3), dtype=np.float32)
    x = torch.from_numpy(image).permute(2, 0, 1)
    out = {"image": image}

    def put(name, result):
        out[name] = np.ascontiguousarray(result.permute(1, 2, 0).numpy().astype(np.float32))

    put("resize 4 x 5", F.resize(x, [4, 5], antialias=True))
    put("resize 3 x 7", F.resize(x, [3, 7], antialias=True))
    put("resize 12 x 23", F.resize(x, [12, 23], antialias=True))
    put("resize 4 x 5 without antialias", F.resize(x, [4, 5], antialias=False))
    put("resize 12 x 23 without antialias", F.resize(x, [12, 23], antialias=False))
    put("pad zeros", F.pad(x, [1, 2, 3, 4]))
    put("pad constant", F.pad(x, [2], fill=0.5))
    put("pad reflect", F.pad(x, [3], padding_mode="reflect"))
    put("pad edge", F.pad(x, [3], padding_mode="edge"))
    put("centerCrop 4 x 5", F.center_crop(x, [4, 5]))
    put("centerCrop 2 x 7", F.center_crop(x, [2, 7]))
    put("horizontal", F.horizontal_flip(x))
    put("vertical", F.vertical_flip(x))
    for factor in (0.5, 1.7):
        put(f"brightness {factor}", F.adjust_brightness(x, factor))
        put(f"contrast {factor}", F.adjust_contrast(x, factor))
        put(f"saturation {factor}", F.adjust_saturation(x, factor))
    put("grayscale 1", F.rgb_to_grayscale(x, 1))
    put("grayscale 3", F.rgb_to_grayscale(x, 3))
    put("normalize", F.normalize(x, [0.1, 0.2, 0.3], [0.5, 0.25, 2.0]))
    np.savez_compressed(f"{DATA}/augmentation.npz", **out)


def folds():
    out = {}
    random = np.random.default_rng(2)
    for name, labels in {
        "even": np.repeat(np.arange(4), 10),
        "uneven": random.choice(5, 97, p=[0.5, 0.3, 0.1, 0.06, 0.04]),
        "names": random.choice([7, -3, 100], 31),
    }.items():
        out[f"{name} labels"] = labels.astype(np.int64)
        for k in (2, 3, 5):
            for kind, splitter in {"plain": KFold(k), "stratified": StratifiedKFold(k)}.items():
                fold = np.full(len(labels), -1, np.int64)
                for number, (_, kept) in enumerate(splitter.split(labels, labels)):
                    fold[kept] = number
                out[f"{name} {kind} {k}"] = fold
    np.savez_compressed(f"{DATA}/folds.npz", **out)


def sounds():
    out = {}
    random = np.random.default_rng(3)
    noise = random.uniform(-1, 1, (50, 2))

    def put(name, file, samples, rate):
        out[f"{name} file"] = np.frombuffer(file, np.uint8)
        samples = np.asarray(samples, np.float64)
        out[f"{name} samples"] = samples.reshape(len(samples), -1).astype(np.float32)
        out[f"{name} rate"] = np.array([rate], np.int64)

    for name, dtype, scale in (("i16", np.int16, 2**15), ("i32", np.int32, 2**31)):
        x = (noise * (scale - 1)).astype(dtype)
        file = io.BytesIO()
        wavfile.write(file, 44100, x)
        put(name, file.getvalue(), x / scale, 44100)
    x = (noise[:, 0] * 127 + 128).astype(np.uint8)
    file = io.BytesIO()
    wavfile.write(file, 8000, x)
    put("u8", file.getvalue(), (x.astype(np.float64) - 128) / 128, 8000)
    for name, dtype in (("f32", np.float32), ("f64", np.float64)):
        file = io.BytesIO()
        wavfile.write(file, 48000, noise.astype(dtype))
        put(name, file.getvalue(), noise.astype(dtype), 48000)
    # Python's wave writes 24 bits; SciPy's reader says what they are (in the upper bits of 32).
    x = (noise * (2**23 - 1)).astype(np.int32)
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(3)
        sound.setframerate(16000)
        sound.writeframes(b"".join(int(v).to_bytes(3, "little", signed=True) for v in x.ravel()))
    rate, read = wavfile.read(io.BytesIO(file.getvalue()))
    put("i24", file.getvalue(), read / 2**31, rate)
    np.savez_compressed(f"{DATA}/sounds.npz", **out)


def interlaced(pixels):
    """A PNG whose rows come in seven passes, which Pillow reads and does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, _ = pixels.shape
    rows = b""
    for top, left, down, across in (
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1),
    ):
        part = pixels[top::down, left::across]
        if part.size:
            rows += b"".join(b"\0" + row.tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


def images():
    out = {}
    random = np.random.default_rng(4)
    small = random.integers(0, 256, (4, 5, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((19, 13), Image.Resampling.BICUBIC))

    def put(name, image, format, **options):
        file = io.BytesIO()
        image.save(file, format, **options)
        add(name, file.getvalue())

    def add(name, file):
        out[name] = np.frombuffer(file, np.uint8)
        image = Image.open(io.BytesIO(file))
        if image.mode == "P":
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        if image.mode == "1":
            image = image.convert("L")
        if image.mode.startswith("I"):
            # 16 bits to 8, rounded to the nearest.
            image = Image.fromarray(np.round(np.asarray(image) / 257.0).astype(np.uint8))
        pixels = np.asarray(image)
        out[f"{name} stored"] = pixels.reshape(*pixels.shape[:2], -1)
        if image.mode != "CMYK":
            rgb = image.convert("RGB") if image.mode != "LA" else image.convert("L").convert("RGB")
            out[f"{name} rgb"] = np.asarray(rgb)
            out[f"{name} gray"] = np.asarray(rgb.convert("L"))[:, :, None]

    photo = Image.fromarray(smooth)
    alpha = random.integers(0, 256, (13, 19), np.uint8)
    put("rgb.png", photo, "PNG")
    put("gray.png", photo.convert("L"), "PNG")
    put("rgba.png", Image.fromarray(np.dstack([smooth, alpha])), "PNG")
    put("la.png", Image.merge("LA", [photo.convert("L"), Image.fromarray(alpha)]), "PNG")
    put("palette.png", photo.quantize(16), "PNG")
    put("transparent.png", photo.quantize(16), "PNG", transparency=3)
    put("bits.png", photo.convert("1"), "PNG")
    put("wide.png", Image.fromarray(random.integers(0, 65536, (13, 19), np.uint16)), "PNG")
    add("interlaced.png", interlaced(smooth))
    put("rgb.jpg", photo, "JPEG", quality=95, subsampling=0)
    put("halved.jpg", photo, "JPEG", quality=80, subsampling=2)
    put("gray.jpg", photo.convert("L"), "JPEG", quality=90)
    put("progressive.jpg", photo, "JPEG", quality=90, subsampling=0, progressive=True)
    put("cmyk.jpg", photo.convert("CMYK"), "JPEG", quality=90)
    put("photo.ppm", photo, "PPM")
    put("photo.pgm", photo.convert("L"), "PPM")
    np.savez_compressed(f"{IMAGES}/images.npz", **out)


if __name__ == "__main__":
    augmentation()
    folds()
    sounds()
    images()
