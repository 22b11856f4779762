// A long row of numbers as a line that fits on a few hundred pixels.

/** At most 2 * buckets of the [x, y] points: the least and the greatest of each bucket, in their order. */
export function thinned(points, buckets) {
  if (points.length <= 2 * buckets) return points;
  const kept = [];
  for (let i = 0; i < buckets; i++) {
    const bucket = points.slice(
      Math.floor((i * points.length) / buckets), Math.floor(((i + 1) * points.length) / buckets),
    );
    const least = bucket.reduce((a, b) => (b[1] < a[1] ? b : a));
    const most = bucket.reduce((a, b) => (b[1] > a[1] ? b : a));
    kept.push(...(least === most ? [least] : [least, most].sort((a, b) => a[0] - b[0])));
  }
  return kept;
}

/** [low, high] of the finite y values; never empty. */
export function rangeOf(points) {
  const values = points.map(([, y]) => y).filter(Number.isFinite);
  if (!values.length) return [0, 1];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

/** The exponential mean of y values, so that the course is seen through the noise. */
export function smoothed(points, keep = 0.95) {
  let mean;
  return points.map(([x, y]) => [x, (mean = mean === undefined ? y : keep * mean + (1 - keep) * y)]);
}

/** An SVG path through points, in a box of width by height with y upwards. */
export function pathOf(points, [left, right], [low, high], width, height) {
  const x = (value) => (width * (value - left)) / (right - left || 1);
  const y = (value) => height - (height * (value - low)) / (high - low || 1);
  return points
    .filter(([, value]) => Number.isFinite(value))
    .map(([first, second], i) => `${i ? "L" : "M"}${x(first).toFixed(1)} ${y(second).toFixed(1)}`)
    .join("");
}
