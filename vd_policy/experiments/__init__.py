"""Floor 5: how we know that it works.

Success rates with their intervals, the demo of the whole loop, benchmarks, reports and the doctor. May import every
room below and matplotlib, and reaches ROS by starting the nodes as processes.
"""
