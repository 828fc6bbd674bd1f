package main

func throughput(s sample) float64 { return s.Throughput }
func p50(s sample) float64        { return s.P50 }
func p99(s sample) float64        { return s.P99 }
func cpu(s sample) float64        { return s.CPU }
func memory(s sample) float64     { return s.RSS }
