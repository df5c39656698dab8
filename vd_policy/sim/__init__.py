"""Floor 2: where the arm lives.

The PyBullet scene (arm, table, cup), the RGBD camera, the tasks with their rewards, and the Gymnasium environment that
puts them together. This is the only room that imports pybullet; it knows nothing of ROS or torch.

Importing it registers ``vd_policy/Reach-v0`` and ``vd_policy/Grasp-v0``, so that
``gymnasium.make("vd_policy.sim:vd_policy/Reach-v0")`` works.
"""

import gymnasium

gymnasium.register("vd_policy/Reach-v0", entry_point="vd_policy.sim.env:ArmEnv", kwargs={"task": "reach"})
gymnasium.register("vd_policy/Grasp-v0", entry_point="vd_policy.sim.env:ArmEnv", kwargs={"task": "grasp"})
