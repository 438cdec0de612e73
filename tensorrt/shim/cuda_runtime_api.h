// The two names that TensorRT's headers take from CUDA's: nothing of the CUDA toolkit is needed to compile.
#pragma once
typedef struct CUstream_st* cudaStream_t;
typedef struct CUevent_st* cudaEvent_t;
