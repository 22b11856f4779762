"""Does LaVieID's router know which part of the video shows which component of the face?"""
