"""The skeleton of the page; `html.page` fills in the names with a dollar sign."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<title>$model · compression report</title>
<style>
$css
</style>
</head>
<body>
<header>
<h1>$model</h1>
<p class="lead">$headline</p>
</header>
<main>
<p class="guide">Each row is one way to make the model smaller; <em>dense</em> is the untouched model that every ratio
and difference refers to$quantized. Compare the average with its interval first, then
what it bought: size, memory, speed. <b class="star">★</b> marks variants that no other beats in both average and size
on disk. An interval of Δ that contains zero means no difference from dense was shown. Click a header to sort.</p>

<section>
<h2>Summary</h2>
$summary
<details class="note" open><summary>How to read the marks and numbers</summary><ul>$notes</ul></details>
</section>

<section>
<h2>What each variant trades</h2>
<p class="note">● not quantized, ■ $squares, hollow: simulated or emulated. Bars are 95 % intervals, the line is the Pareto front,
dotted lines are the dense model. Arrows point to better. Click a legend entry to hide a method.</p>
<div class="charts">
<figure class="card"><figcaption>Average and size on disk</figcaption>
<div class="chart" id="chart-size" data-figure="bytes_on_disk"></div></figure>
<figure class="card"><figcaption>Average and
<span class="choices" role="radiogroup" aria-label="x axis">$choices</span></figcaption>
<div class="chart" id="chart-choice" data-figure="$chosen"></div></figure>
</div>
</section>

$tasks
$fronts
$cost
$training
$search

<section>
<h2>Environment</h2>
$environment
<h3>To make this report again</h3>
<pre><code>$command</code></pre>
</section>
</main>
<script type="application/json" id="figures">$figures</script>
<script>$plotly</script>
<script>
$js
</script>
</body>
</html>
"""
