"""Files made to lead a reader elsewhere, to make it wait, or to fill its memory; each goes through every door."""

import io
import json
import os
import random
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from .outside import Outside
from .table import Row
from .watched import Watched

COUNT = 60
OTHER_ENDINGS = (".mp4", ".gif", ".png", ".mkv")
SIDE = 50_000  # pixels of the pictures that are too large


def attack(count: int, seed: int, folder: Path, outside: Outside) -> Row:
    """Every file under its own ending first, then under those of clips and pictures."""
    row = Row("hostile containers")
    folder.mkdir()
    made = [*texts(outside.folder), *binaries(outside.folder)]
    cases: list[tuple[str, Callable[[Path], dict]]] = [(name, writer(content)) for name, content in made]
    cases += special(outside.folder)
    cases += [(f"{Path(name).stem}_{ending[1:]}{ending}", writer(content)) for name, content in made
              for ending in OTHER_ENDINGS]  # fmt: skip
    own = len(made) + len(special(outside.folder))
    random.Random(seed).shuffle(shuffled := cases[own:])
    with Watched(outside, folder / "child.log") as child:
        for number, (name, make) in enumerate((cases[:own] + shuffled)[:count]):
            place = folder / str(number)
            place.mkdir()
            child.attack(row, f"{name} (number {number})", {"kind": "container"} | make(place / name))
    return row


def writer(content: bytes) -> Callable[[Path], dict]:
    def write(path: Path) -> dict:
        path.write_bytes(content.replace(b"{itself}", path.name.encode()))
        return {"path": str(path)}

    return write


def texts(secrets: Path) -> list[tuple[str, bytes]]:
    """Lists, scripts and descriptions that FFmpeg, or a library like it, follows."""
    clip, picture = f"{secrets}/secret.mp4", f"{secrets}/secret.png"
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n"
    found = {
        "itself.m3u8": f"{head}{{itself}}\n",
        "address.m3u8": f"{head}file://{clip}\n#EXT-X-ENDLIST\n",
        "above.m3u8": f"{head}../../outside/secret.mp4\n#EXT-X-ENDLIST\n",
        "network.m3u8": f"{head}http://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
        "key.m3u8": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="file://{clip}"\n#EXTINF:9,\n{{itself}}\n',
        "concat.m3u8": f"{head}concat:{clip}|{clip}\n",
        "subfile.m3u8": f"{head}subfile,,start,0,end,64,,:{secrets}/secret.txt\n",
        "mark.m3u8": f"\ufeff{head}{clip}\n",
        "script.ffconcat": f"ffconcat version 1.0\nfile '{clip}'\n",
        "script_itself.ffconcat": "ffconcat version 1.0\nfile {itself}\nfile {itself}\n",
        "stream.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        "manifest.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT9S"><Period><AdaptationSet><Representation id="1" bandwidth="1">'
        f"<BaseURL>file://{clip}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "list.asx": f'<asx version="3.0"><entry><ref href="file://{clip}"/></entry></asx>',
        "list.pls": f"[playlist]\nFile1={clip}\nNumberOfEntries=1\n",
        "list.xspf": f"<playlist><trackList><track><location>file://{clip}</location></track></trackList></playlist>",
        "movie.smil": f'<smil><body><video src="file://{clip}"/></body></smil>',
        "picture.svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{picture}"/></svg>',
        "entity.xml": f'<!DOCTYPE x [<!ENTITY s SYSTEM "file://{secrets}/secret.txt">]><x>&s;</x>',
        "words.srt": "1\n00:00:00,000 --> 00:00:01,000\nhello\n",
        "words.ass": f"[Script Info]\nScriptType: v4.00+\n[Fonts]\nfontname: {secrets}/secret.txt\n",
        "graph.lavfi": f"movie={clip}",
        "server.avs": f'DirectShowSource("{clip}")\n',
        "server.vpy": f"open({str(secrets / 'secret.txt')!r}).read()\n",
        "show.ffmeta": ";FFMETADATA1\ntitle=x\n[CHAPTER]\nSTART=0\n",
        "page.eps": f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({secrets}/secret.txt) (r) file closefile\n",
        "drawing.xpm": '/* XPM */ static char *x[] = {"9000000 9000000 1 1", "a c #000"};',
        "tiles.imf": f"Image type: L\r\nFile size (no of images): {10**9}\r\n",
    }
    return [(name, text.encode()) for name, text in found.items()]


def binaries(secrets: Path) -> list[tuple[str, bytes]]:
    from PIL import Image

    from ..core.test_media_door import external_reference

    gif = io.BytesIO()
    Image.new("P", (16, 16)).save(gif, "GIF")
    large_gif = bytearray(gif.getvalue())
    large_gif[6:10] = b"\xff\xff\xff\xff"
    webp = io.BytesIO()
    Image.new("RGB", (16, 16)).save(webp, "WEBP", lossless=True)
    large_webp = bytearray(webp.getvalue())
    place = large_webp.index(b"VP8L") + 9
    large_webp[place : place + 4] = b"\xff\xff\xff\x0f"
    transport = b'G<MPD profiles="urn:mpeg:dash:profile:isoff-live:2011"> file:///etc/passwd </MPD>'.ljust(188, b" ")
    clip = (secrets / "secret.mp4").read_bytes()
    box = b"\0\0\0\1free" + (2**62).to_bytes(8, "big")
    return [
        ("external.mov", external_reference(secrets / "secret.mp4", b"../outside/secret.mp4")),
        ("external_beside.mp4", external_reference(secrets / "secret.mp4", b"secret.mp4")),
        ("zip_in_zip.zip", zip_in_zip()),
        ("large.png", one_colour_png(SIDE, SIDE)),
        ("larger.png", one_colour_png(2**31 - 1, 2**31 - 1, rows=1)),
        ("long_text.png", one_colour_png(8, 8, more=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8), 9)))),
        ("large.gif", bytes(large_gif)),
        ("large.webp", bytes(large_webp)),
        ("list_in.ts", transport + (b"G" + bytes(187)) * 40),
        ("deep_boxes.mp4", clip[:32] + b"\0\0\x10\0moov" * 20_000),
        ("long_box.mp4", clip[:32] + box + clip[32:]),
        ("cluster.mkv", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" + bytes(5000)),
        ("nothing.mp4", b""),
        ("zeros.mp4", bytes(100_000)),
    ]  # fmt: skip


def special(secrets: Path) -> list[tuple[str, Callable[[Path], dict]]]:
    """Pipes, links, folders of links, and lists of training data that name files elsewhere."""

    def pipe(path: Path) -> dict:
        os.mkfifo(path)
        return {"path": str(path)}

    def loop(path: Path) -> dict:
        path.symlink_to(path)
        return {"path": str(path)}

    def links(path: Path) -> dict:
        path.mkdir()
        for picture in sorted((secrets / "pictures").iterdir()):
            (path / picture.name).symlink_to(picture)
        return {"path": str(path)}

    def pattern(path: Path) -> dict:
        return {"path": str(path)}  # no such file: a sequence for readers that fill in the number

    def listed(path: Path) -> dict:
        names = ("../../outside/secret.mp4", str(secrets / "secret.mp4"), "~/secret.mp4", "link.mp4")
        path.parent.joinpath("link.mp4").symlink_to(secrets / "secret.mp4")
        path.write_text("\n".join(json.dumps({"video_path": name, "caption": "x"}) for name in names))
        return {"kind": "list", "layout": "folder", "path": str(path)}

    def linked(path: Path) -> dict:
        path.mkdir()
        (path / "clip.mp4").symlink_to(secrets / "secret.mp4")
        (path / "clip.txt").symlink_to(secrets / "secret.txt")
        return {"kind": "list", "layout": "folder", "path": str(path)}

    def consisid(path: Path) -> dict:
        path.mkdir()
        (path / "total_train_data.txt").write_text(f"{secrets},{secrets}/secret.jsonl,../../outside\n")
        return {"kind": "list", "layout": "consisid", "path": str(path)}

    return [
        ("pipe.mp4", pipe), ("loop.mp4", loop), ("links", links), (f"{secrets.name}_%d.png", pattern),
        ("list.jsonl", listed), ("linked", linked), ("consisid", consisid),
    ]  # fmt: skip


def chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def one_colour_png(width: int, height: int, rows: int | None = None, more: bytes = b"") -> bytes:
    """A PNG of one bit a pixel, without a picture of that size in memory; `rows` of them are there."""
    packer = zlib.compressobj(9)
    row = bytes(1 + min((width + 7) // 8, 2**20))
    data = b"".join(packer.compress(row) for _ in range(height if rows is None else rows)) + packer.flush()
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    header = chunk(b"IHDR", size + b"\1\0\0\0\0")
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zip_in_zip(depth: int = 5) -> bytes:
    content = bytes(10**7)
    for level in range(depth):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for copy in range(4):
                archive.writestr(f"{level}_{copy}", content)
        content = packed.getvalue()
    return content
