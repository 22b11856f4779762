"""A benchmark's design: subjects × prompts × seeds × workflows, from a file, and its jobs keyed by content."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from ...config import config_from_dict
from ...errors import SlotIDError
from ..graph.workflow import Workflow, read_workflow
from .jobs import people_of

FOLDER = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class Recipe:
    """How many of what. `pictures` is how many files a subject's folder must have; 0 for any number."""

    subjects: int
    prompts: int
    seeds: int = 1
    pictures: int = 0
    source: str = ""


@dataclass(frozen=True)
class Prompt:
    """A prompt and its stratum, such as "large motion"."""

    text: str
    stratum: str = ""


@dataclass(frozen=True)
class BenchmarkJob:
    """One video to make. `key` is of content: of the workflow, the reference, the prompt and the seed."""

    key: str
    workflow: str
    person: str
    reference: Path
    prompt: Prompt
    seed: int


def read_recipe(name: str) -> Recipe:
    """A recipe that ships, by name, or a .yaml of your own.

    Raises:
        SlotIDError: there is none, or it has another setting.
    """
    path = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise SlotIDError(f"There is no recipe {name!r}. Shipped are: {shipped}. Or give the path of a .yaml file.")
    return config_from_dict(Recipe, _yaml(path))


def read_prompt_file(path: Path) -> list[Prompt]:
    """Prompts by stratum from YAML, in turn from each stratum, so that the first few have all of them.

    Raises:
        SlotIDError: it is not a list of texts under each stratum.
    """
    strata = _yaml(path)
    if not isinstance(strata, dict) or not all(isinstance(texts, list) and texts for texts in strata.values()):
        raise SlotIDError(f"{path.name} must have a list of prompts under the name of each stratum.")
    longest = max(map(len, strata.values()))
    return [
        Prompt(str(texts[place]), str(name)) for place in range(longest) for name, texts in strata.items()
        if place < len(texts)
    ]  # fmt: skip


def jobs_of(
    recipe: Recipe, workflows: list[str], references: Path, prompts: list[Prompt], first_seed: int = 0
) -> tuple[list[BenchmarkJob], dict[str, Workflow]]:
    """Every video of the design, and the workflows by name. Seeds are the same for all workflows.

    Raises:
        SlotIDError: there are fewer subjects or prompts than the recipe asks for.
    """
    people = people_of(references)
    for what, wanted, there in (("subjects", recipe.subjects, people), ("prompts", recipe.prompts, prompts)):
        if len(there) < wanted:
            raise SlotIDError(f"The recipe asks for {wanted} {what}, and there are {len(there)}. Give more, or another "
                              "recipe.")  # fmt: skip
    read = {one.name: one for one in map(read_workflow, workflows)}
    jobs = []
    for name, workflow in read.items():
        design = json.dumps(workflow.nodes, sort_keys=True)
        for person, paths in list(people.items())[: recipe.subjects]:
            reference, count = _one_file(paths[0])
            if count < recipe.pictures:
                raise SlotIDError(
                    f"{person} has {count} files, and the recipe asks for {recipe.pictures} of everybody."
                )
            content = hashlib.sha256(reference.read_bytes()).hexdigest()
            for prompt in prompts[: recipe.prompts]:
                for seed in range(first_seed, first_seed + recipe.seeds):
                    key = hashlib.sha256(json.dumps([design, content, prompt.text, seed]).encode()).hexdigest()[:24]
                    jobs.append(BenchmarkJob(key, name, person, reference, prompt, seed))
    return jobs, read


def _one_file(path: Path) -> tuple[Path, int]:
    """A person's file, or the first of their folder, and how many there are; all of them are for judging."""
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    if not files:
        raise SlotIDError(f"{path} holds no reference.")
    return files[0], len(files)


def _yaml(path: Path):
    try:
        import yaml
    except ImportError as error:
        raise SlotIDError(f"{path.name} cannot be read: PyYAML is not installed. pip install pyyaml") from error
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SlotIDError(f"{path.name} cannot be read ({error}). Check the file.") from error
