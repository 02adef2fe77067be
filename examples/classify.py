"""Classify handwritten digits in ten lines."""

from systolith import Session
from systolith.models.zoo import digits

images, labels = digits.held_out(10)
session = Session(digits.model_path(), device="sim", preset="edge")
(scores,) = session.run(images).values()
for label, score in zip(labels, scores, strict=True):
    print(f"a {label}, classified as {score.argmax()}")
