import subprocess
import sys

import pytest

import regstudio


def test_the_public_names() -> None:
    for name in regstudio.__all__:
        assert getattr(regstudio, name).__name__ == name
    assert set(regstudio.__all__) == {
        "CorrMLP", "SpatialTransformer", "NCC", "Grad", "dice", "njd", "ImageLoader", "LabelLoader",
        "RegistrationDataset", "load_validation_pair", "train", "load_checkpoint", "register",
        "import_data",
    }  # fmt: skip


def test_the_command_line_answers_without_loading_torch() -> None:
    code = "import sys; from regstudio.cli import main; main(['train', '--help'], standalone_mode=False)"
    code += "; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.slow
def test_a_training_loads_no_library_before_it_needs_it() -> None:
    code = "import sys, regstudio.training.setup, regstudio.training.trainer"
    code += "; assert not {'scipy', 'SimpleITK', 'nibabel', 'matplotlib', 'gradio'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_wrong_name_is_an_attribute_error() -> None:
    assert not hasattr(regstudio, "Corrmlp")
