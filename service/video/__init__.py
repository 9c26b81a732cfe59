"""From the frames of a video to its people, frame by frame: estimated ahead, tracked, smoothed, drawn, encoded."""
