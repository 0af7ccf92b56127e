"""What solutions of LeetCode's kind take for granted."""

CONTEST_PRELUDE = """
import bisect, collections, copy, datetime, functools, heapq, itertools, math, operator, random, re, string, sys
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from math import *
from operator import *
from re import search, match
from string import *
from typing import *
pow = __builtins__.pow
"""
"""Imports for `Job.prelude`, as LiveCodeBench and LeetCode have them. The last line undoes what `math` does to `pow`."""
