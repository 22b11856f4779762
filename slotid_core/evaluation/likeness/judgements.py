"""Judgements by a vision-language model behind an OpenAI-compatible address; nothing is sent unless one is given.

Four rubrics with grades 1 to 5: aesthetics, motion, prompt, naturalness. The rubrics' texts are ours, as those of the
published evaluations are not all public, so grades compare only with grades of the same texts and the same model. Each
answer is kept with the hash of what was asked.
"""

import base64
import hashlib
import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import SlotIDError
from ...files import read_json, write_json
from .frames import Frames, evenly

FRAMES = 16  # as OpenS2V's NaturalScore looks at
LONGER_SIDE = 512  # pixels of the frames that are sent
KEY = "SLOTID_JUDGE_KEY"  # environment variable of the address's key
SILENT_FOR = 300.0  # seconds
RUBRICS = {
    "aesthetics": "How beautiful are light, colours and composition? 1: unpleasant. 3: ordinary. 5: professional.",
    "motion": "How natural is the movement from frame to frame? 1: frozen, jerky or impossible. 3: stiff. 5: lifelike.",
    "prompt": "How completely does the video show what the text asks for? 1: nothing of it. 3: the main thing. 5: all.",
    "naturalness": "Could this be filmed? Look at faces, hands, objects, physics. 1: no. 3: small faults. 5: yes.",
}
ANSWER = re.compile(r"\b([1-5])\b")


@dataclass(frozen=True)
class Judge:
    """
    Attributes:
        address: such as http://127.0.0.1:8000/v1; "/chat/completions" is put behind it.
        folder: keeps an answer a file, by the hash of what was asked.
    """

    address: str
    model: str
    folder: Path

    def grades(self, frames: Frames, prompt: str) -> dict[str, float]:
        """`judged.<rubric>` of a video; `prompt` only where there is one.

        Raises:
            SlotIDError: no connection, or an answer without a grade.
        """
        pictures = [_jpeg(frames, int(index)) for index in evenly(len(frames), FRAMES)]
        return {
            f"judged.{name}": self._grade(text, pictures, prompt if name == "prompt" else "")
            for name, text in RUBRICS.items() if name != "prompt" or prompt
        }  # fmt: skip

    def _grade(self, rubric: str, pictures: Sequence[str], prompt: str) -> float:
        asked = f"These are {len(pictures)} frames of one video in order. {rubric}"
        asked += f"\nThe text: {prompt}" if prompt else ""
        asked += "\nAnswer with one digit from 1 to 5 and nothing else."
        body = self._body(asked, pictures)
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]
        path = self.folder / f"{key}.json"
        if path.is_file():
            return float(read_json(path, "Delete it, and it is asked again.")["grade"])
        answer = self._ask(body)
        found = ANSWER.search(answer)
        if found is None:
            raise SlotIDError(f"{self.model} answered {answer[:80]!r} where a grade from 1 to 5 was asked for.")
        self.folder.mkdir(parents=True, exist_ok=True)
        rubric_hash = hashlib.sha256(rubric.encode()).hexdigest()[:16]
        write_json(path, {"grade": int(found[1]), "answer": answer, "asked": asked, "rubric": rubric_hash,
                          "model": self.model})  # fmt: skip
        return float(found[1])

    def _body(self, asked: str, pictures: Sequence[str]) -> dict[str, Any]:
        shown = [{"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{one}"}} for one in pictures]
        content = [{"type": "text", "text": asked}, *shown]
        return {"model": self.model, "temperature": 0, "messages": [{"role": "user", "content": content}]}

    def _ask(self, body: dict[str, Any]) -> str:
        import requests

        url = f"{self.address.rstrip('/')}/chat/completions"
        key = os.environ.get(KEY, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            reply = requests.post(url, json=body, headers=headers, timeout=SILENT_FOR)
            reply.raise_for_status()
            return str(reply.json()["choices"][0]["message"]["content"])
        except (requests.RequestException, ValueError, KeyError, IndexError, TypeError) as error:
            raise SlotIDError(f"No judgement from {url} ({type(error).__name__}: {error}). Is it running?") from error


def _jpeg(frames: Frames, index: int) -> str:
    from PIL import Image

    image = Image.fromarray(frames.pixels[index])
    image.thumbnail((LONGER_SIDE, LONGER_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return base64.b64encode(buffer.getvalue()).decode()
