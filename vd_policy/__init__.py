"""vd_policy: variational-dropout pre-training and TRPO for a camera-driven robot arm on ROS 2."""

from __future__ import annotations

__version__ = "0.1.0"
