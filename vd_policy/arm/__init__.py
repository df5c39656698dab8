"""Floor 1: what the arm is.

The robot's description (`spec`, checked against its URDF), its forward and inverse kinematics, and the expert of the
paper's eqs. 6, 9 and 10. This room knows nothing of ROS, PyBullet or torch; whether a configuration collides is asked
of a callable that others hand in.
"""
