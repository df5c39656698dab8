"""Floor 3: what it was shown. Episode bags (rosbag2, MCAP), the datasets made of them, the tools that look after both.

`bag` is the format, `demonstrate` fills a directory in-process, `arrays` and `dataset` make bags memory-mapped arrays,
`inspect` says what is wrong and `recover` salvages what a crash left. This room imports rosbags and mcap, never rclpy.
"""
