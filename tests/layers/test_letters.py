"""The trained transformer over letters is the one that the package ships."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.layers.letters import letter_transformer, letter_windows, next_letter_loss, source_letters
from nnvocab.widgets._tiny_transformer import tiny_transformer


def test_it_computes_what_the_shipped_one_computes():
    ids = torch.randint(0, 40, (3, 48))
    assert_close(letter_transformer()(ids), tiny_transformer()(ids)[0], rtol=1e-4, atol=1e-4)


def test_embeddings_stand_for_ids():
    model, ids = letter_transformer(), torch.randint(0, 40, (2, 7))
    assert_close(model(embeddings=model.letters(ids)), model(ids))


def test_program_text_is_new_to_it():
    text, held = source_letters()
    assert len(text) > 9000 and 8 * len(held) < len(text) < 10 * len(held)
    assert (text == 0).float().mean() > 0.02  # signs that the model has no letter for


def test_the_loss_is_that_of_the_letters_that_come_next():
    ids = torch.randint(0, 5, (2, 4))
    sure = torch.nn.functional.one_hot(ids.roll(-1, dims=1), 5) * 50.0
    assert next_letter_loss(sure, ids) < 1e-6 < 1 < next_letter_loss(-sure, ids)


def test_what_does_not_fit_is_refused():
    model, ids = letter_transformer(), torch.zeros(1, 49, dtype=torch.long)
    with pytest.raises(ValueError, match="the text has 10 letters"):
        letter_windows(torch.zeros(10, dtype=torch.long), 2, 10, torch.Generator())
    with pytest.raises(ValueError, match="only 48 have a place"):
        model(ids)
    for given in ({}, {"ids": ids, "embeddings": torch.zeros(1, 2, 32)}):
        with pytest.raises(ValueError, match="either ids or embeddings"):
            model(**given)
