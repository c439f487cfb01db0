"""What runs in the extraction environment.

MediaPipe with its Holistic models inside needs numpy 1 and protobuf 4, and Grain needs protobuf 5,
so both cannot be installed side by side. These modules therefore run in an environment of their
own, where nothing else of this project can be imported, and import none of it but one another.
They need numpy, av, Pillow and, in `holistic.py` alone, mediapipe.
"""
