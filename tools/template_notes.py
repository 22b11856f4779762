"""What the note of each template says, in Markdown."""

TOY = """**This graph runs at once, with the toy world:** tiny models in Wan's format that come with the pack. They draw
cartoon people who smile, nod, look around, talk, laugh or look surprised, in six places and six outfits; a prompt in
other words misses them. Their adapter has learnt from 1,500 drawn people; of a real person's picture it makes somebody
drawn."""

START_NOTE = """## Slot-ID: {title}

{what}

**This graph runs at once, with the toy world:** tiny models in Wan's format that come with the pack. They draw
cartoon people who smile, nod, look around, talk, laugh or look surprised, in six places and six outfits; a prompt in
other words misses them. Their adapter has learnt from 6,000 drawn people; a clip of a real one makes somebody drawn.

**For real videos** replace *Load Toy World* by *Load Wan Model (Slot-ID)*, *Load CLIP* (type `wan`, the umT5-XXL file)
and *Load VAE* (the Wan 2.1 VAE), choose an adapter that was trained for that model, and raise the sampler's *cfg*, or
both its scales, to 5. No Slot-ID adapter for Wan has been published yet; see the pack's README. Until there is one,
*Load Wan Model* runs with both strengths at 0.
"""

DETECTOR_NOTE = """
Put [face_detection_yunet_2023mar.onnx](https://huggingface.co/opencv/face_detection_yunet/resolve/main/face_detection_yunet_2023mar.onnx)
(0.2 MB, MIT) into *models/face_detection*: it sees faces that turn away, which the bundled detector does not.
"""

LYNX_NOTE = """## Lynx: a video of the person in one picture

Choose a picture with one large, frontal face, write a prompt, and queue.

{what}

| to change | turn |
|---|---|
| the face is stiff, always frontal, or the prompt is ignored | *id_scale* down to 0.6, or *start_percent* up to 0.1 |
| light, expression or frame of the picture come back | *ref_scale* down, or *ref_layers* to none |
| likeness is weak | *identity_scale* of the sampler up to 3 |
| speed | equal *text_scale* and *identity_scale*: two passes a step instead of three |

Look at *The face as Lynx sees it*: it must be upright and whole.
"""

LYNX_TOY = f"""{TOY} Here a clip stands for the picture: *Face embedding* takes its best moments.

**For real videos** open *lynx_wan_14b*, which names the files to download."""

ST_DRC_NOTE = f"""## ST-DRC: a video of the person in a clip

{TOY}

**For real videos** train an adapter with this pack: there are no public ST-DRC weights. With public weights open
*stand_in_wan_14b*, which these nodes run as well.

Choose a few seconds of video of one person, or one picture, write a prompt, and queue. The best moment's face is the
reference. The size in *Encode reference* is the size of the video.

| to change | turn |
|---|---|
| layout or light of the picture return | *scale* down to 0.8 |
| the prompt is ignored | *text_scale* of the sampler above *identity_scale*, or *start_percent* up to 0.1 |
| likeness is weak | *identity_scale* above *text_scale* |

Look at *What the VAE encoded*: the face must be whole and large.
"""

LAVIE_ID_NOTE = f"""## LaVieID: a video of the person in a clip, component by component

{TOY}

**For real videos** train an adapter with this pack: there are no public LaVieID weights.

Choose a few seconds of video of one person, or one picture, write a prompt, and queue. The best moment's face is cut
into brows, eyes, mouth, nose, skin and hair; a router weighs, for each part of the video, how far each of them is drawn
there.

| to change | turn |
|---|---|
| a component is missing or wrong | another picture, or connect *masks* to *Encode person* |
| the face looks pasted, or the prompt is ignored | *scale* down to 0.8, or *start_percent* up to 0.1 |
| likeness is weak | *identity_scale* of the sampler above *text_scale* |

Look at *Components that were found*: six pictures, empty where the picture does not show one. *What is routed where*
has one colour a component: brows violet, eyes blue, mouth red, nose green, skin peach, hair brown.
"""

TEMPORAL_NOTE = """## LaVieID's temporal module: a sampled video whose frames agree

**This graph runs at once, with the toy world** and its trained module, which changes little there: over eight long
videos neither likeness nor drift nor flicker became measurably better. Modules come from training with this pack, in a
quarter of an hour for the toy world; choose yours in *Load temporal module*. There are no public ones.

The module reads sampled latents and gives latents, so it goes behind any sampler and any system: put *Refine latents*
between your sampler and *VAE Decode*. Here the person is one of Slot-ID's ready identities. It reads no prompt and no
person, and goes on from chunk to chunk, so that a video may be as long as you like.

| to change | turn |
|---|---|
| frames still flicker, or colours drift | *strength* up |
| movement or detail is lost | *strength* down; 0 is the video as sampled |

Look at *What was changed*: rough frames before and after, and where and when. Both videos are saved.
"""

LYNX_FILES = """Files, about 31 GB; ComfyUI offers those that are missing:

| file | folder in models | licence |
|---|---|---|
| Wan 2.1 T2V 14B, umT5, VAE | diffusion_models, text_encoders, vae | Apache-2.0 |
| Lynx ID layers, resampler, Ref layers | lynx | Apache-2.0 |
| recognition_arcface_ir_se50.pth, from facexlib | facexlib | states none for the weights |

A face detector with landmarks (insightface's packs, in models/insightface, **non-commercial research only**) places
the crop best; without one, eyes and mouth are guessed from the face's box. For lite: choose the lite ID layers *and*
the lite resampler. The settings are those of Lynx's authors."""

STAND_IN_NOTE = """## Stand-In: a video of the person in one picture

Choose a picture with one large, frontal face, write a prompt, and queue. Say *a woman* or *a man* and nothing about
the looks: they come from the picture. Its authors ask for frontal medium shots and close-ups.

Files, about 22 GB; ComfyUI offers those that are missing:

| file | folder in models | licence |
|---|---|---|
| Wan 2.1 T2V 14B, umT5, VAE | diffusion_models, text_encoders, vae | Apache-2.0 |
| Stand-In's LoRA (0.3 GB) | st_drc, or loras where you have it | see THIRD_PARTY.md |

| to change | turn |
|---|---|
| the picture's light or expression come back | *scale* down to 0.8, or *start_percent* up to 0.1 |
| likeness is weak | *identity_scale* of the sampler up to 2; a step then takes three passes instead of two |
| speed | nothing: two passes a step, and the picture is computed in the first step alone |

Look at *The face as Stand-In sees it*: the head must be whole, on white. The settings are those of Stand-In's authors:
*identity first* with *identity_scale* 1 is their guidance, where the negative prompt has the picture too.
"""

NEEDS_ADAPTER = """## Needs your adapter: Slot-ID on {model}

**This graph does not run before you have trained an adapter.** None has been published for a Wan model. Train one with
the recipe *{recipe}* (*docs/training.md* of the pack says how, and what it takes), put the file into *models/slotid*,
and choose it in *Load your adapter*. To see Slot-ID at work today, open *slot_id_text_to_video*; for a real video of a
person with public weights, *lynx_wan_14b* or *stand_in_wan_14b*.

Then choose a few seconds of video of one person, write a prompt, and queue. {more}

| to change | turn |
|---|---|
| likeness is weak | {likeness} |
| the prompt is ignored | *strength* down to 0.8, or *start_percent* up to 0.1 |
| speed | {speed} |

The other files are {size}; ComfyUI offers those that are missing. Shift, steps and scales are those of Wan's authors.
"""
SCALES = {
    "likeness": "*identity_scale* of the sampler above *text_scale*; a step then takes three passes instead of two",
    "speed": "*steps* down to 30",
}
EXPERTS = {
    "likeness": "*strength* of both *Apply identity* up to 1.2",
    "speed": "*steps* down to 20 in both samplers, and the step of the hand-over to 13",
}

TWO_PEOPLE_NOTE = """## Lynx: two people in one video, each from a picture

Choose two pictures with one large, frontal face each, write a prompt that says who is where, and queue. Each person
reaches their half of the frame only.

Files are those of *lynx_wan_14b*, about 31 GB; ComfyUI offers those that are missing. Lynx was trained on one person in
the frame: nobody has measured how well two work on a real Wan.

| to change | turn |
|---|---|
| a face is between the halves | *where* of both regions to *box*, as wide as each person needs |
| two faces look alike | say in the prompt how they differ: hair, age, clothes |
| more people | another picture, region and *Apply Lynx*, with thirds of the frame |
| the face is stiff or always frontal | *id_scale* down to 0.6 |

In both pictures the head must be upright and whole.
"""

SMALL_FACE_NOTE = """## Lynx: a person far away, and a second pass on the face

A face of 60 pixels has too few latents to look like anybody. Here the finished video's face is cut out at 512 × 512,
sampled again with the person at *denoise* 0.4, and put back with a soft edge.

Files are those of *lynx_wan_14b*, about 31 GB; ComfyUI offers those that are missing. The same five nodes stand behind
any other system: they are the blueprint *Second pass on the face (Slot-ID)*.

| to change | turn |
|---|---|
| the face is still somebody else | *denoise* of *Sample the face again* up to 0.55 |
| the face does not fit its head, or moves otherwise | *denoise* down to 0.3 |
| the square is seen | *feather* up, or a face mask into *Paste the face* |
| another person's face is taken | *subject* of *Track the face* |

It has not been measured on real videos. Faces under 32 pixels are not found.
"""

NOTES = {
    "slot_id_text_to_video": START_NOTE.format(
        title="a new video of the person in a clip",
        what="Choose a few seconds of video of one person, write a prompt, and queue. The identity is saved as well, "
        "for *slot_id_reuse_identity*.",
    )
    + DETECTOR_NOTE,
    "slot_id_reuse_identity": START_NOTE.format(
        title="the same person again",
        what="Loads an identity: one that comes with the pack, or that *slot_id_text_to_video* saved. No clip and no "
        "face tools are needed.",
    ),
    "lynx_text_to_video": LYNX_NOTE.format(what=LYNX_TOY),
    "st_drc_text_to_video": ST_DRC_NOTE,
    "lavie_id_text_to_video": LAVIE_ID_NOTE,
    "lavie_id_refine_video": TEMPORAL_NOTE,
    "stand_in_wan_14b": STAND_IN_NOTE,
    "lynx_wan_14b": LYNX_NOTE.format(what=LYNX_FILES),
    "slot_id_wan_14b": NEEDS_ADAPTER.format(
        model="Wan 2.1 T2V 14B", recipe="wan_14b_24gb", more="", size="about 21 GB", **SCALES
    ),
    "slot_id_wan_1_3b": NEEDS_ADAPTER.format(
        model="Wan 2.1 T2V 1.3B", recipe="wan_1_3b_24gb", more="", size="about 10 GB", **SCALES
    ),
    "slot_id_wan_i2v_14b": NEEDS_ADAPTER.format(
        model="Wan 2.1 I2V 14B",
        recipe="wan_14b_24gb",
        more="The first frame is a picture of your choice, best one in which the person is to be seen; the clip says "
        "who turns or moves there. Train it on the I2V model, with data of *start_image: true*.",
        size="about 24 GB",
        **SCALES,
    ),
    "slot_id_wan_2_2_14b": NEEDS_ADAPTER.format(
        model="Wan 2.2 T2V 14B",
        recipe="wan_2_2_14b_24gb",
        more="One adapter serves both experts: its LoRA and the identity go into each of them, and the gate runs on "
        "across the hand-over.",
        size="about 36 GB",
        **EXPERTS,
    ),
    "lynx_two_people_wan_14b": TWO_PEOPLE_NOTE,
    "lynx_small_face_wan_14b": SMALL_FACE_NOTE,
}
