"""Floor 2: where the arm lives.

The PyBullet scene (arm, table, cup), the RGBD camera, the tasks with their rewards, and the Gymnasium environment that
puts them together. This is the only room that imports pybullet; it knows nothing of ROS or torch.
"""
