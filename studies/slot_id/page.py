"""The page of the study. Every number in it is read from the figures; a row without figures is marked as not run."""

from studies.slot_id.formats import Figures, picture
from studies.slot_id.page_tables import ablations, main_rows, movement, slots, trials
from studies.slot_id.page_verdicts import claims, defaults, protocol

INTRODUCTION = """# Slot-ID in the toy world: does it work, and which of its parts matter?

**Every figure on this page is a toy-world figure**: rendered people, tiny models, and judge networks trained on
renderings. The code is the code that a 14B model runs. The figures do not say how large an effect is on real people.
`python -m studies.slot_id` writes this page from [figures.json](figures.json). No number on it is typed by hand.

## Protocol

- There are {people} held-out identities with {reported_prompts} scenes each. The actions of the scenes are balanced:
  smile, nod, talk, look around. Each shows other movement factors, and sway is in all of them.
- Figures are reported on the people of seed {reported_seed}. Defaults are chosen on those of seed {development_seed},
  who are other people.
- All rows start from the same noise.
- The reference is never the clip to generate. It has {reference} frames of another scene, and a frontal portrait on
  white.
- Adapters are trained on {trained_on} other people.
- The full budget is {steps} steps of {batch} samples. Ablations have a third of the budget, {third} steps. They are
  compared with a row of the same budget.
- Main rows, and all rows that a claim rests on, have {seeds} training seeds. Each is a training of its own. Figures are
  means over them, and what each gives is in brackets. Other ablations have one training seed.
- Intervals are 95% bootstrap intervals over identities. Differences are paired: both rows are resampled with the same
  identities, and training seeds are averaged in each resample. Intervals cover the choice of identities. They do not
  cover the choice of the training seed.
- A row that is *not run* has not been trained or measured. `--rows` with its name makes that row and rewrites the page.
- *Earlier clips* are of an earlier release: the people of seed {earlier_seed}, on whom its defaults were chosen, in
  {earlier_prompts} scenes with random actions. All of them show sway, and few show another factor. Their video
  model had not read words for looks. They stand in where a row, or one of the two rows of a difference, was not
  measured on the people of today. They are never compared with clips of today.

## Metrics

- **similarity**: cosine between the face embedding of the clip and that of the person. The face judge is a network that
  no adapter was conditioned on.
- **rank-1**: share of clips whose nearest identity among all {people} is the right one.
- **action, background, clothes**: share of clips that show what the prompt asks for.
- **dynamics r**: correlation between the person's movement factors and those that a judge estimates from the clip, over
  the clips whose action shows the factor. In the tables it is the mean of six factors. Verdicts are about each factor.
- **dynamics error**: mean absolute error of these estimates, as a share of the factor's range. Lower is better. A row
  above `constant guess` says less than nobody.
- **marks AUC**: area under the ROC curve for marks that the portrait hides, detected in the clip. Chance is 0.5.

## Limits

- A portrait carries more information here than a portrait of a real person. It is frontal and evenly lit on white, and
  it shows every factor of appearance except the marks. Results about clips against portraits may not transfer.
- Movement is independent of appearance. A model cannot infer it from the face.
- The adapters of the rows are trained for minutes. A part that needs more training shows no effect here. The shipped
  adapter, which the trials at test time use, is trained for longer, and there is one of it.
- {seeds} training seeds show whether an effect repeats. They are too few to measure how much it varies.
"""


def page(figures: Figures, pictures: set[str]) -> str:
    """Markdown. `pictures` are the names of the files beside it."""
    parts = [
        INTRODUCTION.format(**protocol(figures)),
        claims(figures),
        defaults(figures),
        main_rows(figures) + picture("main.png", pictures) + picture("sheet.jpg", pictures),
        movement(figures),
        ablations(figures, pictures),
        trials(figures, pictures),
        slots(figures) + picture("slots.jpg", pictures),
    ]
    return "\n".join(parts)
