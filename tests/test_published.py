"""The published curves, by network and by attack."""

import pytest

from graphmod.published import published_attacks, published_curve


def test_published_curves() -> None:
    assert len(published_curve("ResNet152")) == 51
    assert published_curve("ResNet18", condition="PGD").modularity.iloc[-1] == 0.078
    with pytest.raises(ValueError, match="no curve was published for the network 'ResNet20'; there are ResNet101"):
        published_curve("ResNet20")


def test_published_curves_by_the_names_of_the_attacks() -> None:
    names = ["pgd", "fgsm", "jsma", "one_pixel", "local_search", "cw"]
    found = published_attacks("ResNet18", [*names, "noise"])
    assert list(found) == ["clean", *names]
    assert found["pgd"].modularity.iloc[-1] == pytest.approx(0.08, abs=0.02)
    assert found["one_pixel"].modularity.iloc[-1] == pytest.approx(0.53, abs=0.02)


def test_attacks_stand_beside_the_clean_curve_of_their_own_figure() -> None:
    clean = [0.119, 0.025, 0.077, 0.274, 0.335, 0.517, 0.807, 0.844, 0.849]
    assert published_attacks("ResNet18", ["pgd"])["clean"].modularity.tolist() == clean
    of_vgg = published_attacks("VGG16", ["cw"])["clean"]
    assert of_vgg.equals(published_curve("VGG16", condition="clean-adv-panel"))
    assert not of_vgg.equals(published_curve("VGG16"))
    assert published_attacks("ResNet50", [])["clean"].equals(published_curve("ResNet50"))  # which has no such figure


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="for the dataset 'CIFAR10'; there are CIFAR-10, CIFAR-100, ImageNet-50"):
        published_curve("ResNet18", "CIFAR10")
    with pytest.raises(ValueError, match="for the network 'ResNet34'; there are ResNet18, VGG16"):
        published_curve("ResNet34", condition="PGD")
