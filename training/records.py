"""Files of records, rows and samples to train the mixer's initial weights on: `records.py OUT TABLES SOUNDS`.

TABLES is a folder with CSV files, SOUNDS one with WAV files. Programs, libraries, compiled Python and message
catalogues are taken from this machine, pictures from scikit-image. Needs numpy, pillow, scikit-image and xlwt.
"""

import csv
import pathlib
import random
import sys
import sysconfig

import numpy
import skimage.data
import xlwt
from PIL import Image, ImageDraw

MOST = 1 << 20
RANDOM = random.Random(17)


def take(out, kind, paths, files, most=MOST):
    """The middle of some of the files, chosen at random."""
    paths = sorted(path for path in paths if path.is_file() and not path.is_symlink() and path.stat().st_size > 4096)
    folder = out / kind
    folder.mkdir(parents=True)
    for i, path in enumerate(RANDOM.sample(paths, min(files, len(paths)))):
        data = path.read_bytes()
        start = max(0, len(data) - most) // 2
        (folder / f"{i:03}{path.suffix}").write_bytes(data[start : start + most])


def columns(tables):
    """The columns of numbers of the tables."""
    for path in sorted(tables.rglob("*.csv")):
        try:
            rows = list(csv.reader(path.open(newline="", errors="replace")))
        except csv.Error:
            continue
        for column in list(zip(*rows[1:30000], strict=False))[:12]:
            try:
                numbers = [float(cell or 0) for cell in column]
            except ValueError:
                continue
            if len(set(numbers)) > 20:
                yield numpy.nan_to_num(numpy.array(numbers), posinf=0, neginf=0)


def arrays(out, tables):
    """Numbers of tables as whole columns and as records."""
    (out / "arrays").mkdir()
    (out / "structs").mkdir()
    held = []
    for i, column in enumerate(columns(tables)):
        types = ["<i2", "<i4", "<f4", "<f8", ">i4", ">f4", "<u2"]
        kind = types[i % len(types)]
        whole = kind[1] != "f"
        numbers = numpy.clip(column, -30000, 30000) if kind[2] == "2" else numpy.clip(column, -2e9, 2e9)
        if whole and kind[1] == "u":
            numbers = abs(numbers)
        data = numbers.astype(kind)
        (out / "arrays" / f"{i:04}{kind[1:]}.bin").write_bytes(data.tobytes()[:MOST])
        held.append((f"f{len(held)}", data))
        if len(held) >= 2 + i % 5:
            length = min(len(data) for _, data in held)
            extra = [("n", numpy.arange(length, dtype="<u4")), ("flag", (numpy.arange(length) % 7 == 0).astype("u1"))]
            fields = held + extra[: i % 3]
            table = numpy.zeros(length, dtype=[(name, data.dtype) for name, data in fields])
            for name, data in fields:
                table[name] = data[:length]
            (out / "structs" / f"{i:04}.bin").write_bytes(table.tobytes()[:MOST])
            held = []


def sheets(out, tables):
    """Spreadsheets of tables."""
    (out / "sheets").mkdir()
    for i, path in enumerate(sorted(tables.rglob("*.csv"))):
        book = xlwt.Workbook()
        sheet = book.add_sheet("one")
        for y, row in enumerate(csv.reader(path.open(newline="", errors="replace"))):
            if y == 4000:
                break
            for x, cell in enumerate(row[:40]):
                try:
                    number = float(cell)
                except ValueError:
                    number = cell[:200]
                sheet.write(y, x, number)
        book.save(str(out / "sheets" / f"{i:03}.xls"))


def pictures(out):
    """Pictures of several sizes, in colours, grey and in black and white."""
    names = ["pictures", "rows16", "bitmaps"]
    for name in names:
        (out / name).mkdir()
    for i, name in enumerate(["astronaut", "camera", "coffee", "page", "text", "coins", "moon", "chelsea", "rocket"]):
        try:
            picture = Image.fromarray(getattr(skimage.data, name)())
        except (ImportError, OSError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        for width in (97, 200, 331, 512):
            height = picture.height * width // picture.width
            small = picture.resize((width, height))
            grey = small.convert("L")
            small.convert("RGB").save(out / "pictures" / f"{i}-{width}.bmp")
            (out / "pictures" / f"{i}-{width}.rgb").write_bytes(small.convert("RGB").tobytes())
            (out / "pictures" / f"{i}-{width}.grey").write_bytes(grey.tobytes())
            deep = numpy.asarray(picture.convert("L").resize((width * 2, height * 2)), dtype="<u2")
            deep = deep[::2, ::2] + deep[1::2, ::2] + deep[::2, 1::2] + deep[1::2, 1::2]
            deep.astype("<u2" if width % 2 else ">u2").tofile(out / "rows16" / f"{i}-{width}.bin")
            bits = grey.point(lambda v: 255 * (v > 128))
            bits.convert("1", dither=0).save(out / "bitmaps" / f"{i}-{width}.pbm")


def pages(out, tables):
    """Pages of printed text in black and white."""
    lines = [line for path in sorted(tables.rglob("*.csv")) for line in path.read_text(errors="replace").split("\n")[:60]]
    for i in range(12):
        page = Image.new("1", (840 + 136 * (i % 4), 1100), 1)
        draw = ImageDraw.Draw(page)
        for y in range(40, 1060, 16 + 2 * (i % 5)):
            draw.text((40 + 8 * (i % 3), y), RANDOM.choice(lines)[:110], fill=0, font_size=12 + i % 5)
        page.save(out / "bitmaps" / f"page-{i}.pbm")


def main():
    out, tables, sounds = map(pathlib.Path, sys.argv[1:])
    libraries = pathlib.Path("/usr/lib")
    take(out, "programs", list(pathlib.Path("/usr/bin").iterdir()), 60)
    take(out, "libraries", libraries.glob("*-linux-gnu/*.so*"), 60)
    take(out, "archives", libraries.glob("*-linux-gnu/*.a"), 20)
    take(out, "bytecode", pathlib.Path(sysconfig.get_path("purelib")).rglob("*.pyc"), 200)
    take(out, "catalogues", pathlib.Path("/usr/share/locale").rglob("*.mo"), 60)
    take(out, "sounds", sounds.rglob("*.wav"), 60)
    arrays(out, tables)
    sheets(out, tables)
    pictures(out)
    pages(out, tables)


main()
