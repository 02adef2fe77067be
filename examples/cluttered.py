"""Classify digits among clutter: a network with depthwise layers, whose accuracy a few images show."""

from systolith import Session
from systolith.models.zoo import cluttered

images, labels = cluttered.held_out(20)
with Session(cluttered.model_path(), device="sim", preset="edge") as session:
    (logits,) = session.run(images).values()
guesses = logits.argmax(axis=1)
for label, guess in zip(labels, guesses, strict=True):
    print(f"a {label}, classified as {guess}")
print(f"{(guesses == labels).sum()} of {len(labels)} are right")
