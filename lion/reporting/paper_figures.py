"""What the paper reports, to stand beside figures of a run: its tables 1 to 3, in per cent.

`QUALITY` is table 1, `TASKS` are tables 2 and 3, in docs/concepts/method.md as averages.
Read from the figures of the authors' repository (YJiangcm/Lion at 0d94c4c, pics/reasoning.png and
pics/open_ended_generation.png); there, ChatGPT and Vicuna on both exams are those of Mukherjee et
al. (2023).
"""

from collections.abc import Mapping
from types import MappingProxyType

MODELS = ("Lion-7B", "Vicuna-7B", "Lion-13B", "Vicuna-13B", "ChatGPT")
"""The columns of `TASKS`, in order."""

QUALITY: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "LLaMA-7B": (58.46, 59.12),
        "Alpaca-7B": (69.29, 67.20),
        "WizardLM-7B": (89.29, 86.67),
        "Vicuna-7B": (87.79, 89.96),
        "Lion-7B": (94.74, 92.88),
        "LLaMA-13B": (69.23, 68.21),
        "Alpaca-13B": (76.87, 74.69),
        "Vicuna-13B": (92.25, 92.97),
        "Lion-13B": (96.57, 100.18),
    }
)
"""Quality against ChatGPT on the 80 Vicuna questions by model, in settings 1 and 2."""

TASKS: Mapping[str, Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {
        "agieval": MappingProxyType(
            {
                "aqua-rat": (18.5, 23.2, 26.0, 20.1, 31.9),
                "logiqa-en": (31.8, 21.4, 31.3, 29.8, 35.0),
                "lsat-ar": (17.4, 22.2, 23.0, 20.4, 24.4),
                "lsat-lr": (28.2, 18.6, 32.6, 32.6, 52.6),
                "lsat-rc": (29.4, 21.9, 40.9, 32.7, 65.4),
                "sat-math": (20.9, 21.4, 29.4, 28.6, 42.7),
                "sat-en": (36.4, 25.7, 53.9, 44.2, 81.1),
                "sat-en-without-passage": (27.7, 26.2, 36.2, 26.2, 44.2),
            }
        ),
        "bbh": MappingProxyType(
            {
                "boolean_expressions": (55.2, 39.2, 65.6, 40.8, 82.8),
                "causal_judgement": (50.3, 39.7, 43.9, 42.2, 57.2),
                "date_understanding": (34.0, 8.6, 40.4, 10.0, 42.8),
                "disambiguation_qa": (35.6, 15.2, 44.8, 18.4, 57.2),
                "formal_fallacies": (46.0, 40.0, 52.4, 47.2, 53.6),
                "geometric_shapes": (8.8, 3.6, 8.8, 3.6, 25.6),
                "hyperbaton": (51.6, 42.8, 56.8, 44.0, 69.2),
                "logical_deduction_five_objects": (19.6, 4.8, 20.8, 4.8, 38.8),
                "logical_deduction_seven_objects": (14.4, 1.2, 21.2, 1.2, 39.6),
                "logical_deduction_three_objects": (40.4, 19.6, 38.0, 16.8, 60.4),
                "movie_recommendation": (26.8, 24.4, 57.6, 43.4, 55.4),
                "navigate": (49.2, 43.6, 45.2, 46.4, 55.6),
                "penguins_in_a_table": (24.7, 17.5, 26.7, 15.1, 45.9),
                "reasoning_about_colored_objects": (15.2, 14.0, 17.6, 12.0, 47.6),
                "ruin_names": (14.4, 12.2, 29.2, 15.7, 56.0),
                "salient_translation_error_detection": (12.0, 2.0, 12.4, 2.0, 40.8),
                "snarks": (56.2, 28.0, 61.2, 28.1, 59.0),
                "sports_understanding": (48.4, 40.4, 51.6, 48.4, 79.6),
                "temporal_sequences": (24.4, 21.2, 10.4, 16.0, 35.6),
                "tracking_shuffled_objects_five_objects": (14.4, 6.4, 24.8, 9.2, 18.4),
                "tracking_shuffled_objects_seven_objects": (13.6, 4.0, 13.2, 5.6, 15.2),
                "tracking_shuffled_objects_three_objects": (34.0, 26.8, 34.4, 23.2, 31.6),
                "web_of_lies": (47.2, 49.4, 54.8, 41.2, 56.0),
            }
        ),
    }
)
"""Accuracy by exam, task and model (`MODELS`)."""


def of_task(exam: str, task: str) -> dict[str, float | None]:
    """Return each model's accuracy in a task, None where the paper has none."""
    values = TASKS.get(exam, {}).get(task)
    return dict(zip(MODELS, values or [None] * len(MODELS), strict=True))


def reported_quality(setting: int) -> dict[str, float]:
    """Return each model's quality in setting 1 or 2."""
    return {model: values[setting - 1] for model, values in QUALITY.items()}
