"""Trained networks that come with Systolith, each a package with its model file and the script that trained it.

`digits`: handwritten digits, 8x8 grey, a residual CNN of 10 k parameters.

Every network's package offers `model_path() -> Path` and `held_out(n=None) -> (inputs, labels)`, samples that
neither training nor calibration has seen.
"""
