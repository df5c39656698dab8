"""Floor 2: how the arm is kept safe and punctual.

Limits, the safety gate, the arbitration of commanders, plausibility and freshness of inputs, the assembly of one
observation from several topics, the cutting of rollouts, and the deadline meter. Pure logic on numbers and NumPy
arrays: time is passed in, so nothing here sleeps, reads a clock of its own accord or knows ROS. It may import `base`
and `arm`.
"""
